"""Public data sets into the data folder: downloads that resume and are checked, then manifests of this project."""

from preprocessing.fetch.datasets import DATASETS, Dataset
from preprocessing.fetch.download import RemoteFile, download
from preprocessing.fetch.fill import copy_embedded, fetch

__all__ = ["DATASETS", "Dataset", "RemoteFile", "copy_embedded", "download", "fetch"]
