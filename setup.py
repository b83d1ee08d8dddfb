"""The distribution: what it is, what it needs, and why each bound stands.

Exact versions that were tested together are in requirements.txt.
"""

from pathlib import Path

from setuptools import find_packages, setup

CORE = [
    "fsspec>=2024.6",  # one interface to every storage; put_file, on_error="return"
    "numpy>=1.26,<3",  # the Generator methods that samples depend on
    "nvidia-dali-cuda130>=2.4,<3",  # the GPU resize; torch 2.15 is built for CUDA 13
    "nvidia-nvimgcodec-cu13>=0.9,<0.10",  # the decoder; a minor version may change its API
    "pillow>=11.3",  # the first with AVIF inside
    "pyarrow>=16,<26",  # apache-beam 2.77 allows no 26
    "rasterio>=1.4,<2",  # 1.4 opens fsspec files by `opener=`
    "safetensors>=0.5",  # torch and numpy loaders of one interface
    "shapely>=2",  # vectorised geometry to WKB
    "torch>=2.9,<3",  # torch.cpu.get_capabilities tells of bfloat16
    "torchvision>=0.24,<1",  # the one that fits torch 2.9
    "tqdm>=4.66",  # progress bars
]
EXTRAS = {
    "pipeline": [
        "apache-beam[gcp]>=2.70,<3",  # FnApiRunner by name, and Dataflow's client libraries
        "faiss-gpu>=1.15,<2",  # write_InvertedLists to memory; runs without a GPU too
        "gcsfs>=2024.6",  # gs:// for fsspec
        "google-cloud-storage>=2.18",  # what Beam's own GCS file system uses
    ],
    "serving": [
        "faiss-gpu>=1.15,<2",  # OnDiskInvertedLists merged from bare lists
        "fastapi>=0.115",  # lifespan and response models as used here
        "gcsfs>=2024.6",  # gs:// for fsspec
        "limits>=4.1,<6",  # the first with a sliding window counter
        "orjson>=3.10,<4",  # JSON of thousands of hits, numpy arrays in it
        "prometheus-client>=0.21,<1",  # /metrics, of several processes too
        "pydantic-settings>=2.4",  # settings from the environment
        "python-multipart>=0.0.18",  # uploads; earlier ones have a denial of service
        "scikit-learn>=1.5,<2",  # PCA, before UMAP and in its stead
        "structlog>=24.4",  # log lines that carry the request's id
        "umap-learn>=0.5.12,<0.6",  # the embedding map; as tested with scikit-learn 1.9
        "uvicorn[standard]>=0.30",  # with uvloop and httptools: the plain loop adds 44 ms
    ],
    "client": ["httpx>=0.27,<1", "pydantic>=2.7,<3"],  # what serving.client needs beside the core
    "s3": ["s3fs>=2024.6"],  # s3:// for fsspec
    "test": [
        "gcp-storage-emulator>=2024",  # a Cloud Storage server that pip can install
        "geopandas>=1",  # reads our GeoParquet as its users do
        "httpx>=0.27",  # FastAPI's test client
        "hypothesis>=6.100",  # arithmetic over many inputs
        "mypy>=1.14",  # types, strictly
        "playwright>=1.45",  # drives the browser
        "pytest>=8",
        "pytest-timeout>=2.3",  # a hung test ends and says where
        "ruff>=0.9",  # style
        "schemathesis>=4,<5",  # requests out of the OpenAPI document
        "types-tqdm>=4.66",  # stubs for mypy
    ],
}

setup(
    name="worldsift",
    version="0.1.0",
    description="Visual search over imagery archives too large to look through",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",  # datetime.UTC, and fromisoformat with a Z
    packages=find_packages(include=["featurizer*", "pipeline*", "serving*"]),
    package_data={
        "featurizer": ["weights/*"],
        # The pages as built by `make web`; their sources and npm packages stay out.
        "serving": ["web/dist/*", "web/dist/**/*"],
    },
    install_requires=CORE,
    extras_require={**EXTRAS, "all": sorted({need for some in EXTRAS.values() for need in some})},
)
