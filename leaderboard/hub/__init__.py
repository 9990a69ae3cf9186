"""The local Hub: a small server that speaks the Hugging Face Hub's HTTP protocol, for one machine or a closed network.

The official ``huggingface_hub`` client creates repositories, uploads and downloads against it. Clients from 1.20 on
need ``HF_HUB_DISABLE_XET=1`` in their environment before they are imported: this Hub stores plain LFS objects.
"""
