# The search with the packages of constraints.txt, for clusters/kuberay.yaml; on CPUs and GPUs alike:
#   docker build --tag REGISTRY/transform-tuner:0.2.0 . && docker push REGISTRY/transform-tuner:0.2.0
FROM python:3.11-slim-bookworm

# Triton compiles kernels for a GPU with gcc; KubeRay asks a pod with wget whether it is well
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev wget \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 tuner

COPY pyproject.toml constraints.txt README.md LICENSE /source/
COPY analysis /source/analysis
COPY trainables /source/trainables
COPY tuner /source/tuner
RUN pip install --no-cache-dir --constraint /source/constraints.txt "/source[dashboard]"

USER 1000
WORKDIR /home/tuner
CMD ["transform-tuner", "--help"]
