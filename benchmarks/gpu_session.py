# ruff: noqa
"""One session on a GPU: what is fast there, each change alone. Throw-away; needs torch and triton.

python -m benchmarks.gpu_session PART OUT.json     PART: perceptual, epochs, schedules, products
"""

import json
import statistics
import sys
import time
import traceback
from contextlib import contextmanager
from dataclasses import replace
from unittest.mock import MagicMock

import torch
from torch import nn
from torch.nn import functional as F

for name in ("safetensors", "safetensors.torch", "platformdirs", "filelock"):
    try:
        __import__(name)
    except ImportError:
        sys.modules[name] = MagicMock()

from trainables.data.examples import as_float, random_examples  # noqa: E402
from trainables.losses import perceptual as P  # noqa: E402
from trainables.losses.loss_settings import CONVOLUTIONS, POOLED, Perceptual  # noqa: E402
from trainables.losses.perceptual import PerceptualLoss  # noqa: E402
from trainables.losses.vgg16_weights import random_vgg16  # noqa: E402
from trainables.tasks import STUDY  # noqa: E402
from trainables.training.loop import Training, TrainingConfig  # noqa: E402
from trainables.training.precision import choose  # noqa: E402

GPU = torch.device("cuda")
OUT = ""
FOUND: dict = {}
START = time.perf_counter()
ONLY: set[str] = set()


def keep(name, value):
    FOUND[name] = value
    print(f"[{time.perf_counter() - START:6.1f}] {name}: {json.dumps(value)[:400]}", flush=True)
    if OUT:
        with open(OUT, "w") as file:
            json.dump(FOUND, file, indent=1)


def part(function):
    """Run it whatever it raises."""
    name = function.__name__
    if ONLY and name not in ONLY:
        return
    try:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            function()
    except Exception as error:
        traceback.print_exc()
        keep(f"{name} failed", f"{type(error).__name__}: {error}"[:2000])
    torch.cuda.synchronize()
    torch.cuda.empty_cache()


def seconds(run, rounds=3, calls=1, warm=2):
    for _ in range(warm):
        run()
    torch.cuda.synchronize()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(calls):
            run()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - start) / calls)
    return [round(t, 7) for t in times]


def peak(run):
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    torch.cuda.synchronize()
    return round((torch.cuda.max_memory_allocated() - before) / 2**20)


def kernels(run):
    """All kernels of a run, ms and calls, the longest first."""
    from torch.profiler import ProfilerActivity, profile

    run()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as profiler:
        run()
        torch.cuda.synchronize()
    sums: dict[str, list[float]] = {}
    for event in profiler.events():
        if event.device_type == torch.autograd.DeviceType.CUDA:
            one = sums.setdefault(event.name[:230], [0.0, 0])
            one[0] += event.time_range.elapsed_us() / 1000
            one[1] += 1
    found = sorted(([n, round(ms, 3), c] for n, (ms, c) in sums.items()), key=lambda k: -k[1])
    total = round(sum(k[1] for k in found), 2)
    return {"total ms": total, "count": sum(k[2] for k in found), "kernels": found[:45]}


@contextmanager
def cudnn_benchmark(on=True):
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = on
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


# ---------------------------------------------------------------- the perceptual loss


def pictures(count, near=0.0):
    targets = F.interpolate(torch.rand(count, 1, 8, 8, device=GPU), (28, 28), mode="bicubic")
    targets = (targets + 0.1 * torch.rand(count, 1, 28, 28, device=GPU)).clamp(0, 1)
    if near:
        return (targets + near * torch.randn_like(targets)).requires_grad_(), targets
    return torch.rand(count, 1, 28, 28, device=GPU).requires_grad_(), targets


def made(precision="auto", fused=True, passes=32, target=None, size=224, first=False):
    loss = PerceptualLoss(
        Perceptual(size=size),
        STUDY,
        random_vgg16(),
        precision=choose(precision, pays=True, device=GPU),
        device=GPU,
    )
    if not fused:
        loss._fused = None
    loss.batch = passes
    if first:
        from trainables.losses.fused import FirstConvolution

        loss._first = FirstConvolution.apply
    if target:
        for layer in loss._convolutions[1:]:
            object.__setattr__(layer, "target_kernel", layer.target_kernel.to(target))
        fused_one = loss._fused

        def between(difference, value, bias, factor, pooled, dtype):
            less, value, distance = fused_one(difference, value, bias, factor, pooled, dtype)
            return less, value.to(target), distance  # a copy only after the first layer

        loss._fused = between
    return loss


def step_of(loss, outputs, targets):
    def step():
        value = loss(outputs, targets)
        return value.detach(), torch.autograd.grad(value, outputs)[0]

    return step


def plain_network(weights, dtype=torch.float32, gradients=True):
    layers = []
    for index, (into, out) in CONVOLUTIONS.items():
        layer = nn.Conv2d(into, out, 3, padding=1)
        layer.load_state_dict(
            {k: weights.tensors[f"features.{index}.{k}"] for k in ("weight", "bias")}
        )
        layers += [layer, nn.ReLU()]
        if index in POOLED:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers).to(GPU, dtype).requires_grad_(gradients)


def plain_loss(weights, dtype=torch.float32, gradients=True, size=224, layers=(2, 7, 14, 21, 28)):
    """The formula as one writes it: activations of both, MSE of each. Sum over images."""
    network = plain_network(weights, dtype, gradients)
    mean, std = (
        torch.tensor(v, device=GPU, dtype=dtype).view(3, 1, 1)
        for v in (weights.normalisation.mean, weights.normalisation.std)
    )

    def activations(images):
        images = F.interpolate(images, (size, size), mode="bilinear").repeat(1, 3, 1, 1)
        images, seen = (images - mean) / std, []
        for index, layer in enumerate(network[:29]):
            images = layer(images)
            if index in layers:
                seen.append(images)
        return seen

    def loss(outputs, targets):
        outputs, targets = outputs.to(dtype), targets.to(dtype)
        total = F.mse_loss(outputs, targets) * len(outputs)
        if gradients:
            theirs = activations(targets)
        else:
            with torch.no_grad():
                theirs = activations(targets)
        for a, b in zip(activations(outputs), theirs, strict=True):
            total = total + (a - b).square().sum() / a[0].numel()
        return total

    def step(outputs, targets):
        value = loss(outputs, targets)
        if gradients:
            network.zero_grad()
            outputs.grad = None
            value.backward()
            return value.detach(), outputs.grad
        return value.detach(), torch.autograd.grad(value, outputs)[0]

    return step


def kernel_is_the_definition():
    from trainables.losses.fused import BetweenConvolutions

    worst = {}
    half, single = torch.bfloat16, torch.float32
    cases = [
        *(((4, 64, 112, 112), 0.3, *types) for types in ((single, single), (single, half))),
        ((4, 64, 112, 112), 0.3, half, half),
        ((2, 128, 57, 33), 0.0, half, half),
    ]
    for pooled in (False, True):
        for shape, factor, dtype, out in cases:
            if True:
                if True:
                    difference = torch.randn(shape, device=GPU).to(
                        dtype, memory_format=torch.channels_last
                    )
                    target = torch.randn(shape, device=GPU).to(memory_format=torch.channels_last)
                    bias = torch.randn(shape[1], device=GPU)
                    results = []
                    for between in (P.between_convolutions, BetweenConvolutions.apply):
                        torch.manual_seed(1)
                        leaf = difference.clone().requires_grad_()
                        less, rectified, distance = between(
                            leaf, target.clone(), bias, factor, pooled, out
                        )
                        up = torch.randn(less.shape, device=GPU).to(out)
                        whole = (less * up).sum(dtype=torch.float32) + distance
                        (gradient,) = torch.autograd.grad(whole, leaf)
                        results.append((less.detach(), rectified, distance.detach(), gradient))
                    for label, a, b in zip(
                        ("difference", "target", "distance", "gradient"), *results, strict=True
                    ):
                        error = (a.double() - b.double()).norm() / a.double().norm().clamp_min(1e-9)
                        key = f"{label}, {'pooled' if pooled else 'not pooled'}, {dtype} to {out}"
                        worst[key] = max(worst.get(key, 0.0), error.item())
    keep("kernel against definition, largest relative error", worst)


def gradients_are_right():
    weights = random_vgg16()
    exact = plain_loss(weights, torch.float64, gradients=False)
    for near in (0.0, 0.01, 0.001):
        outputs, targets = pictures(4, near)
        value, gradient = exact(outputs, targets)
        for label, options in {
            "not fused": {"fused": False},
            "fused": {},
            "fused, first layer in Triton": {"first": True},
            "fused, float16 targets": {"target": torch.float16},
            "fused, bfloat16 targets": {"target": torch.bfloat16},
            "fused, tf32": {"precision": "tf32"},
            "fused, float32": {"precision": "float32"},
        }.items():
            torch.manual_seed(0)
            loss = made(**options)
            _reweighted(loss, weights)
            mine, its = step_of(loss, outputs, targets)()
            keep(
                f"error, outputs {near or 'random'}, {label}",
                {
                    "value": abs(mine.item() / value.item() - 1),
                    "gradient": ((its - gradient).norm() / gradient.norm()).item(),
                },
            )
        tf32 = plain_loss(weights, gradients=False)
        mine, its = tf32(outputs, targets)
        keep(
            f"error, outputs {near or 'random'}, plain formula TF32",
            {
                "value": abs(mine.item() / value.item() - 1),
                "gradient": ((its - gradient).norm() / gradient.norm()).item(),
            },
        )


def _reweighted(loss, weights):
    for layer, (index, _) in zip(loss._convolutions, CONVOLUTIONS.items(), strict=True):
        kernel = weights.tensors[f"features.{index}.weight"]
        if index == 0:
            kernel = P._first_kernel(kernel, weights.normalisation, 1)
        layer.target_kernel.copy_(kernel)
        layer.kernel.copy_(kernel)


STEP = 256  # images of a step, as in training


def _timed(label, loss, images=STEP, rounds=3):
    outputs, targets = pictures(images)
    step = step_of(loss, outputs, targets)
    times = seconds(step, rounds=rounds, warm=2)
    best = statistics.median(times)
    keep(
        label,
        {
            "ms an image": round(best / images * 1000, 4),
            "s for 45,000": round(best / images * 45_000, 2),
            "times": times,
            "peak MiB": peak(step),
        },
    )


def perceptual_steps():
    _timed("perceptual, not fused, pass 32", made(fused=False))
    for passes in (32, 64, 128, 256):
        _timed(f"perceptual, fused, pass {passes}", made(passes=passes))
    for passes in (32, 64, 128):
        _timed(
            f"perceptual, fused, first layer in Triton, pass {passes}",
            made(passes=passes, first=True),
        )
    _timed("perceptual, fused, float16 targets, pass 64", made(passes=64, target=torch.float16))
    _timed("perceptual, fused, float16 targets, pass 256", made(passes=256, target=torch.float16))


def perceptual_plain():
    weights = random_vgg16()
    for images in (32, 64, 128):
        outputs, targets = pictures(images)
        for label, gradients in (("as it comes", True), ("weights frozen", False)):
            step = plain_loss(weights, gradients=gradients)

            def run(step=step, outputs=outputs, targets=targets):
                return step(outputs, targets)

            times = seconds(run, warm=2)
            keep(
                f"plain formula, TF32, {label}, batch {images}",
                {
                    "s for 45,000": round(statistics.median(times) / images * 45_000, 2),
                    "times": times,
                    "peak MiB": peak(run),
                },
            )
            torch.cuda.empty_cache()


def perceptual_kernels():
    outputs, targets = pictures(STEP)
    keep("kernels, fused, pass 64", kernels(step_of(made(passes=64), outputs, targets)))
    keep(
        "kernels, fused, first layer in Triton, pass 64",
        kernels(step_of(made(passes=64, first=True), outputs, targets)),
    )
    keep("kernels, not fused, pass 32", kernels(step_of(made(fused=False), outputs, targets)))


def perceptual_benchmarked():
    with cudnn_benchmark():
        for passes in (32, 128):
            start = time.perf_counter()
            _timed(f"perceptual, fused, cudnn.benchmark, pass {passes}", made(passes=passes))
            keep(f"seconds of cudnn.benchmark, pass {passes}", time.perf_counter() - start)
        outputs, targets = pictures(STEP)
        keep(
            "kernels, fused, cudnn.benchmark, pass 128",
            kernels(step_of(made(passes=128), outputs, targets)),
        )
        _timed(
            "perceptual, fused, cudnn.benchmark, float16 targets, pass 128",
            made(passes=128, target=torch.float16),
        )


def perceptual_tf32():
    _timed("perceptual, fused, tf32, pass 64", made("tf32", passes=64))
    _timed("perceptual, not fused, tf32, pass 32", made("tf32", fused=False))


def perceptual_small():
    _timed("perceptual 64 px, not fused", made(fused=False, passes=392, size=64))
    _timed("perceptual 64 px, fused", made(passes=392, size=64))


def perceptual_graph():
    """What a CUDA graph of a step gives."""
    for size, passes in ((224, 64), (64, 256)):
        loss = made(passes=passes, size=size)
        outputs, targets = pictures(STEP)
        step = step_of(loss, outputs, targets)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            step()
        keep(f"CUDA graph, {size} px", seconds(graph.replay))
        keep(f"no CUDA graph, {size} px", seconds(step))
        del graph


def perceptual_epoch():
    images = 18 * STEP
    train = random_examples(images, STUDY).to(GPU)
    config = TrainingConfig(
        model="cnn", learning_rate=1e-4, max_epochs=1, seed=0, batch_size=STEP, loss="perceptual"
    )
    for label in ("fused, first layer in Triton, pass 64", "fused", "not fused"):
        training = Training(config, train, train.first(STEP), device=GPU, vgg=random_vgg16())
        if label == "not fused":
            training.perceptual._fused = None
        if "first" in label:
            from trainables.losses.fused import FirstConvolution

            training.perceptual._first = FirstConvolution.apply
            training.perceptual.batch = 64
        times = seconds(lambda training=training: training.train_epoch(1), rounds=1, warm=1)
        keep(
            f"perceptual epoch of {images} images, {label}",
            {"times": times, "s for 45,000": times[0] * 45_000 / images},
        )


def vgg_convolutions():
    """Each convolution alone, milliseconds for 64 images, and their sum for 45,000."""
    count = 64
    backward = torch.ops.aten.convolution_backward
    for searched in (False, True):
        with cudnn_benchmark(searched):
            rows, sums = [], {}
            side = 224
            for index, (into, out) in CONVOLUTIONS.items():
                into = 2 if index == 0 else into
                row = [index]
                for label, dtype in (
                    ("TF32", torch.float32),
                    ("bfloat16", torch.bfloat16),
                    ("float16", torch.float16),
                ):
                    x = torch.rand(count, into, side, side, device=GPU).to(
                        dtype, memory_format=torch.channels_last
                    )
                    w = torch.rand(out, into, 3, 3, device=GPU).to(
                        dtype, memory_format=torch.channels_last
                    )
                    y = F.conv2d(x, w, padding=1)

                    def forward(x=x, w=w):
                        F.conv2d(x, w, padding=1)

                    def data(x=x, w=w, y=y):
                        backward(
                            y,
                            x,
                            w,
                            None,
                            [1, 1],
                            [1, 1],
                            [1, 1],
                            False,
                            [0, 0],
                            1,
                            [True, False, False],
                        )

                    for way, run in (("forward", forward), ("gradient", data)):
                        if way == "gradient" and label == "float16":
                            continue
                        took = statistics.median(seconds(run, rounds=3, calls=2, warm=2)) * 1000
                        row.append(round(took, 3))
                        key = f"{label} {way}"
                        sums[key] = sums.get(key, 0) + took / count * 45
                    del x, w, y
                rows.append(row)
                if index in POOLED:
                    side //= 2
            keep(f"VGG16's convolutions, cudnn.benchmark {searched}", rows)
            keep(
                f"s for 45,000, cudnn.benchmark {searched}",
                {key: round(value, 2) for key, value in sums.items()},
            )


# ---------------------------------------------------------------- the products of fc, the layers of cnn


def fc_products():
    x, w = torch.rand(256, 3072, device=GPU), torch.rand(128, 3072, device=GPU)
    h, v = torch.rand(256, 128, device=GPU), torch.rand(784, 128, device=GPU)
    b, c = torch.rand(128, device=GPU), torch.rand(784, device=GPU)
    g, k = torch.rand(256, 128, device=GPU), torch.rand(256, 784, device=GPU)
    ones = torch.ones(1, 256, device=GPU)

    def split(parts):
        wide = x.view(256, parts, -1).transpose(0, 1)
        tall = w.view(128, parts, -1).permute(1, 2, 0)
        return lambda: torch.bmm(wide, tall).sum(0).add_(b)

    def split_baddbmm(parts):
        wide = x.view(256, parts, -1).transpose(0, 1)
        tall = w.view(128, parts, -1).permute(1, 2, 0)
        return lambda: torch.bmm(wide, tall).sum(0)

    runs = {
        "first layer": lambda: F.linear(x, w, b),
        "first layer, no bias": lambda: x @ w.T,
        **{f"first layer in {n} parts": split(n) for n in (4, 8, 12, 24)},
        **{f"first layer in {n} parts, no bias": split_baddbmm(n) for n in (8, 24)},
        "first weights": lambda: g.T @ x,
        "first bias, sum": lambda: g.sum(0),
        "first bias, product": lambda: ones @ g,
        "second layer": lambda: F.linear(h, v, c),
        "second layer, no bias": lambda: h @ v.T,
        "second inputs": lambda: k @ v,
        "second weights": lambda: k.T @ h,
        "second bias, sum": lambda: k.sum(0),
        "second bias, product": lambda: ones @ k,
    }
    for library in ("cublas", "cublaslt"):
        torch.backends.cuda.preferred_blas_library(library)
        for tf32 in (False, True):
            torch.backends.cuda.matmul.allow_tf32 = tf32
            keep(
                f"fc products, {library}, {'TF32' if tf32 else 'float32'}, µs in a CUDA graph",
                {label: _in_graph(run) for label, run in runs.items()},
            )
    torch.backends.cuda.preferred_blas_library("default")
    torch.backends.cuda.matmul.allow_tf32 = False


def _in_graph(run, calls=100):
    """Microseconds of a call among many of one graph."""
    stream = torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        for _ in range(calls):
            run()
    took = round(statistics.median(seconds(graph.replay, rounds=5, warm=2)) / calls * 1e6, 2)
    del graph
    return took


def cnn_layers():
    backward = torch.ops.aten.convolution_backward
    for searched in (False, True):
        with cudnn_benchmark(searched):
            rows = {}
            for label, into, out, side in (
                ("first", 3, 64, 32),
                ("first, 4 channels", 4, 64, 32),
                ("first, 8 channels", 8, 64, 32),
                ("second", 64, 64, 31),
                ("third", 64, 64, 30),
                ("last", 64, 1, 29),
                ("last, 8 channels", 64, 8, 29),
            ):
                x = torch.rand(256, into, side, side, device=GPU).to(
                    torch.bfloat16, memory_format=torch.channels_last
                )
                w = torch.rand(out, into, 4, 4, device=GPU).to(
                    torch.bfloat16, memory_format=torch.channels_last
                )
                b = torch.rand(out, device=GPU).to(torch.bfloat16)
                y = F.conv2d(x, w, padding=1)
                more = ([1, 1], [1, 1], [1, 1], False, [0, 0], 1)
                flat = y.permute(0, 2, 3, 1).reshape(-1, out)
                ones = torch.ones(1, len(flat), device=GPU, dtype=torch.bfloat16)
                runs = {
                    "forward": lambda: F.conv2d(x, w, padding=1),
                    "forward, bias": lambda: F.conv2d(x, w, b, padding=1),
                    "forward, bias, relu": lambda: F.relu(F.conv2d(x, w, b, padding=1)),
                    "cudnn_convolution_relu": lambda: torch.cudnn_convolution_relu(
                        x, w, b, [1, 1], [1, 1], [1, 1], 1
                    ),
                    "inputs": lambda: backward(y, x, w, None, *more, [True, False, False]),
                    "weights": lambda: backward(y, x, w, None, *more, [False, True, False]),
                    "bias, sum": lambda: y.sum((0, 2, 3)),
                    "bias, product": lambda: ones @ flat,
                }
                times = {}
                for name, run in runs.items():
                    try:
                        times[name] = _in_graph(run, 20)
                    except Exception as error:
                        times[name] = str(error)[:150]
                rows[label] = times
            keep(f"cnn layers in µs, cudnn.benchmark {searched}", rows)


# ---------------------------------------------------------------- epochs of fc and cnn, change by change


def epochs_of(training, label, profiled=False, rounds=6):
    training.train_epoch(1)
    training.train_epoch(1)
    times = seconds(lambda: training.train_epoch(1), rounds=rounds, warm=1)
    keep(
        label,
        {
            "median": statistics.median(times),
            "least": min(times),
            "times": times,
            "graph": training.graph is not None and training.graph_problem == "",
            "problem": training.graph_problem,
        },
    )
    if profiled:
        keep(f"kernels, {label}", kernels(lambda: training.train_epoch(1)))


EXAMPLES: dict = {}


def training_of(model, images, **more):
    if images not in EXAMPLES:
        EXAMPLES[images] = random_examples(images, STUDY).to(GPU)
    train = EXAMPLES[images]
    config = TrainingConfig(
        model=model, learning_rate=1e-3, max_epochs=50, seed=0, batch_size=256, **more
    )
    return Training(config, train, train.first(256), device=GPU)


def with_changes(training, names):
    from benchmarks import gpu_changes

    for name in names:
        getattr(gpu_changes, name)(training)
    return training


def fc_epochs():
    from benchmarks import gpu_changes

    lists = [
        (),
        ("adam_in_pieces",),
        ("adam_in_triton",),
        ("scaled_gradient",),
        ("read_in_triton",),
        ("error_in_triton",),
        ("linear_in_parts",),
        ("several_steps",),
        ("adam_in_pieces", "scaled_gradient"),
        ("adam_in_pieces", "scaled_gradient", "linear_in_parts"),
        ("adam_in_pieces", "scaled_gradient", "read_in_triton"),
        ("adam_in_pieces", "scaled_gradient", "read_in_triton", "error_in_triton"),
        ("adam_in_pieces", "scaled_gradient", "read_in_triton", "error_in_triton",
         "linear_in_parts"),
        ("adam_in_triton", "scaled_gradient", "read_in_triton", "error_in_triton",
         "linear_in_parts"),
    ]  # fmt: skip
    for names in lists:
        label = "fc epoch" + "".join(f", {name}" for name in names)
        try:
            training = with_changes(training_of("fc", 45_000), [n for n in names])
            epochs_of(training, label, profiled=names in ((), lists[-2]))
            keep(f"weights, {label}", gpu_changes.weights(training))
        except Exception as error:
            traceback.print_exc()
            keep(f"{label} failed", str(error)[:500])


def cnn_epochs():
    from benchmarks import gpu_changes

    for names, model in (
        ((), "cnn"),
        (("adam_in_pieces", "scaled_gradient"), "cnn"),
        (("cudnn_searches",), "cnn"),
        ((), "benchmarks.gpu_changes:BiasByProduct"),
        ((), "benchmarks.gpu_changes:BiasReluInTriton"),
        ((), "benchmarks.gpu_changes:BiasReluByCudnn"),
        (("adam_in_pieces", "scaled_gradient"), "benchmarks.gpu_changes:BiasReluInTriton"),
        (("adam_in_pieces", "scaled_gradient"), "benchmarks.gpu_changes:BiasReluByCudnn"),
        (("cudnn_searches", "adam_in_pieces", "scaled_gradient"),
         "benchmarks.gpu_changes:BiasReluInTriton"),
        (("cudnn_searches", "adam_in_pieces", "scaled_gradient"),
         "benchmarks.gpu_changes:BiasReluByCudnn"),
    ):  # fmt: skip
        label = f"{model.rpartition(':')[2]} epoch" + "".join(f", {name}" for name in names)
        try:
            training = with_changes(training_of(model, 45_000), names)
            epochs_of(training, label, profiled=not names, rounds=3)
            keep(f"weights, {label}", gpu_changes.weights(training))
        except Exception as error:
            traceback.print_exc()
            keep(f"{label} failed", str(error)[:500])
        torch.backends.cudnn.benchmark = False


# ---------------------------------------------------------------- kron and can, schedules, graphs


def schedules():
    chosen = {
        "kron": {"terms": 8, "width": 32, "extra": 0, "activation": "GELU", "start": "resize"},
        "can": {"channels": 32, "depth": 4, "steepness": 3.0},
    }
    for model, batch in (("kron", 64), ("can", 16)):
        task = replace(STUDY, output_shape=(3, 32, 32)) if model == "can" else STUDY
        torch.manual_seed(0)
        train = random_examples(batch * 30 + 5, task).to(GPU)
        for schedule in ("constant", "cosine", "one-cycle"):
            for reduced in ("auto", "float32") if model == "can" else ("auto",):
                config = TrainingConfig(
                    model=model, task=task, chosen=chosen[model], learning_rate=1e-3, max_epochs=2,
                    seed=0, batch_size=batch, schedule=schedule, precision=reduced,
                )  # fmt: skip
                results = {}
                for graph in (True, False):
                    training = Training(
                        config, train, train.first(min(500, len(train))), device=GPU
                    )
                    if not graph:
                        training.graph = None
                    torch.cuda.reset_peak_memory_stats()
                    records = list(training.epochs())
                    weights = torch.cat([p.flatten() for p in training.network.parameters()])
                    results[graph] = weights.detach().clone()
                    times = seconds(lambda t=training: t.train_epoch(2), rounds=3, warm=1)
                    keep(
                        f"{model}, {training.precision.name}, {schedule}, "
                        f"{'graph' if graph else 'no graph'}",
                        {
                            "train losses": [r.train_loss for r in records],
                            "validation losses": [r.validation_loss for r in records],
                            "problem": training.graph_problem,
                            "ms a step": round(statistics.median(times) / 31 * 1000, 4),
                            "peak MiB": round(torch.cuda.max_memory_allocated() / 2**20),
                        },
                    )
                apart = (results[True] - results[False]).norm() / results[False].norm()
                keep(f"{model}, {schedule}, {reduced}: weights apart, relative", apart.item())


PARTS = {
    "perceptual": (
        kernel_is_the_definition,
        perceptual_steps,
        perceptual_kernels,
        perceptual_plain,
        perceptual_epoch,
        gradients_are_right,
    ),
    "epochs": (fc_epochs, cnn_epochs),
    "layers": (fc_products, cnn_layers, vgg_convolutions),
    "schedules": (schedules,),
    "more": (perceptual_graph, perceptual_benchmarked, perceptual_tf32, perceptual_small),
}


def main(name, out="", *only):
    global OUT
    OUT = out
    ONLY.update(only)
    if not torch.cuda.is_available():
        raise SystemExit("no GPU here")
    keep("gpu", torch.cuda.get_device_name())
    keep("versions", {"torch": torch.__version__, "cudnn": torch.backends.cudnn.version()})
    for function in PARTS[name]:
        part(function)
    keep("seconds altogether", time.perf_counter() - START)


if __name__ == "__main__":
    main(*sys.argv[1:])
