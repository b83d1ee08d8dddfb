import sys

from featurizer.cli import main

if __name__ == "__main__":
    sys.exit(main())
