# ruff: noqa
"""Changes to a training that `gpu_session` times one by one. Throw-away."""

import torch
import triton
import triton.language as tl
from torch import nn
from torch.nn import functional as F

from trainables.networks.cnn import CNN
from trainables.training.adam import _laid_out_like


def weights(training):
    flat = torch.cat([p.detach().flatten() for p in training.network.parameters()]).double()
    return [flat.norm().item(), flat.abs().sum().item()]


def flat_of(tensor):
    return tensor.detach().as_strided((tensor.numel(),), (1,), tensor.storage_offset())


# ------------------------------------------------------------------ Adam


class AdamInPieces:
    """PyTorch's kernel gives 65,536 elements to one block; pieces are spread over the GPU."""

    def __init__(self, parameters, learning_rate, pieces=28):
        self.parameters = parameters
        total = sum(p.numel() for p in parameters)
        self.size = max(1024, -(-total // pieces // 1024) * 1024)
        self.pieces = self.cut(parameters)
        self.first = [torch.zeros_like(p) for p in self.pieces]
        self.second = [torch.zeros_like(p) for p in self.pieces]
        self.step_number = torch.zeros((), device=parameters[0].device)
        self.steps = [self.step_number] * len(self.pieces)
        self.rate = learning_rate

    def cut(self, tensors):
        return [piece for t in tensors for piece in flat_of(t).split(self.size)]

    @torch.no_grad()
    def step(self, gradients):
        laid_out = [_laid_out_like(p, g) for p, g in zip(self.parameters, gradients, strict=True)]
        self.step_number.add_(1)
        torch._fused_adam_(
            self.pieces, self.cut(laid_out), self.first, self.second, [], self.steps,
            lr=self.rate, beta1=0.9, beta2=0.999, weight_decay=0.0, eps=1e-8,
            amsgrad=False, maximize=False,
        )  # fmt: skip


def adam_in_pieces(training):
    training.optimizer = AdamInPieces(
        training.gradients.parameters, training.optimizer.learning_rate
    )


@triton.jit
def adam_kernel(p_at, g_at, m_at, v_at, step_at, rate, count, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    step = tl.load(step_at)
    g = tl.load(g_at + at, inside, 0.0)
    m = tl.load(m_at + at, inside, 0.0)
    v = tl.load(v_at + at, inside, 0.0)
    p = tl.load(p_at + at, inside, 0.0)
    m = m + (1 - 0.9) * (g - m)
    v = 0.999 * v + (1 - 0.999) * g * g
    correction1 = 1 - tl.exp(step * -0.10536051565782628)
    correction2 = 1 - tl.exp(step * -0.0010005003335835335)
    p = p - rate / correction1 * m / (tl.sqrt(v) / tl.sqrt(correction2) + 1e-8)
    tl.store(p_at + at, p, inside)
    tl.store(m_at + at, m, inside)
    tl.store(v_at + at, v, inside)


class AdamInTriton:
    """All parameters in one buffer, all gradients copied into one, one kernel."""

    def __init__(self, parameters, learning_rate):
        self.parameters = parameters
        self.flat = torch.cat([flat_of(p) for p in parameters])
        at = 0
        for p in parameters:
            p.data = self.flat.as_strided(p.shape, p.stride(), at)
            at += p.numel()
        self.m, self.v = torch.zeros_like(self.flat), torch.zeros_like(self.flat)
        self.number = torch.zeros((), device=self.flat.device)
        self.rate = learning_rate

    @torch.no_grad()
    def step(self, gradients):
        laid_out = [_laid_out_like(p, g) for p, g in zip(self.parameters, gradients, strict=True)]
        flat = torch.cat([flat_of(g) for g in laid_out])
        self.number.add_(1)
        count = len(flat)
        adam_kernel[(triton.cdiv(count, 1024),)](
            self.flat, flat, self.m, self.v, self.number, self.rate, count, BLOCK=1024
        )


def adam_in_triton(training):
    training.optimizer = AdamInTriton(
        training.gradients.parameters, training.optimizer.learning_rate
    )


# ------------------------------------------------------------------ the step's small kernels


def scaled_gradient(training):
    """The sum of the losses is differentiated, from 1 / batch: no scalars divided and multiplied."""
    gradients = training.gradients
    scales = {}

    def update(batch):
        count = len(batch)
        if count not in scales:
            scales[count] = torch.full((), 1 / count, device=training.device)
        images, targets = gradients.read(training.train, batch)
        loss = gradients.loss(gradients.forward(images), targets)
        found = torch.autograd.grad(loss, gradients.parameters, scales[count])
        training.optimizer.step(list(found))
        return loss.detach()

    training._update = update


@triton.jit
def read_kernel(
    images_at, targets_at, order_at, out_at, out_targets_at, pixels, numbers,
    CHANNELS: tl.constexpr, NHWC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0)
    image = tl.load(order_at + row)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = at < pixels
    if NHWC:  # `at` in the output
        plane = pixels // CHANNELS
        source = (at % CHANNELS) * plane + at // CHANNELS
    else:
        source = at
    values = tl.load(images_at + image * pixels + source, inside, 0).to(tl.float32) * (1 / 255)
    tl.store(out_at + row.to(tl.int64) * pixels + at, values, inside)
    inside = at < numbers
    targets = tl.load(targets_at + image * numbers + at, inside, 0.0)
    tl.store(out_targets_at + row.to(tl.int64) * numbers + at, targets, inside)


def read_in_triton(training):
    memory_format = training.gradients.memory_format

    def read(examples, indices):
        shape, target = examples.images.shape[1:], examples.targets.shape[1:]
        count = len(indices)
        images = torch.empty((count, *shape), device=indices.device, memory_format=memory_format)
        targets = torch.empty((count, *target), device=indices.device)
        pixels, numbers = shape.numel(), target.numel()
        grid = (count, triton.cdiv(max(pixels, numbers), 1024))
        read_kernel[grid](
            examples.images, examples.targets, indices, images, targets, pixels, numbers,
            CHANNELS=shape[0], NHWC=memory_format == torch.channels_last, BLOCK=1024,
        )  # fmt: skip
        return images, targets

    training.gradients.read = read


@triton.jit
def error_kernel(o_at, t_at, sums_at, count, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    d = tl.load(o_at + at, inside, 0.0) - tl.load(t_at + at, inside, 0.0)
    tl.store(sums_at + tl.program_id(0), tl.sum(d * d))


@triton.jit
def error_backward_kernel(o_at, t_at, factor_at, r_at, scale, count, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    d = tl.load(o_at + at, inside, 0.0) - tl.load(t_at + at, inside, 0.0)
    tl.store(r_at + at, d * (scale * tl.load(factor_at)), inside)


class Error(torch.autograd.Function):
    @staticmethod
    def forward(ctx, outputs, targets):
        outputs, targets = outputs.contiguous(), targets.contiguous()
        count = outputs.numel()
        blocks = triton.cdiv(count, 1024)
        sums = torch.empty(blocks, device=outputs.device)
        error_kernel[(blocks,)](outputs, targets, sums, count, BLOCK=1024)
        ctx.save_for_backward(outputs, targets)
        return sums.sum() / targets[0].numel()

    @staticmethod
    def backward(ctx, factor):
        outputs, targets = ctx.saved_tensors
        result = torch.empty_like(outputs)
        count = outputs.numel()
        error_backward_kernel[(triton.cdiv(count, 1024),)](
            outputs, targets, factor, result, 2 / targets[0].numel(), count, BLOCK=1024
        )
        return result, None


def error_in_triton(training):
    training.gradients.loss = Error.apply


def linear_in_parts(training, parts=12):
    """The first product as some, side by side: it has few outputs and a long sum."""
    layer = training.network.layers[1]

    def forward(x):
        if len(x) > 1000:
            return F.linear(x, layer.weight, layer.bias)
        return InParts.apply(x, layer.weight, layer.bias, parts)

    layer.forward = forward


class InParts(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, b, parts):
        ctx.save_for_backward(x, w)
        wide = x.view(len(x), parts, -1).transpose(0, 1)
        tall = w.view(len(w), parts, -1).permute(1, 2, 0)
        return torch.bmm(wide, tall).sum(0).add_(b)

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return (g @ w if ctx.needs_input_grad[0] else None), g.T @ x, g.sum(0), None


def several_steps(training, count=8):
    """So many steps in one graph."""
    from trainables.training.cuda_graphs import CudaGraphStep

    graph, size = CudaGraphStep(), training.config.batch_size

    def steps(batches):
        return sum(training._update(batch) for batch in batches.split(size))

    def train_epoch(epoch):
        training.network.train()
        total = torch.zeros((), device=training.device)
        for batches in training._order(epoch).split(size * count):
            if len(batches) == size * count:
                total += graph(steps, batches)
            else:
                for batch in batches.split(size):
                    whole = training.graph if len(batch) == size else None
                    total += whole(training._update, batch) if whole else training._update(batch)
        training._next_order = epoch + 1, training._shuffled(epoch + 1)
        return float(total) / len(training.train)

    training.train_epoch = train_epoch


def cudnn_searches(training):
    torch.backends.cudnn.benchmark = True


# ------------------------------------------------------------------ cnn


@triton.jit
def bias_relu_kernel(x_at, b_at, count, CHANNELS: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    x = tl.load(x_at + at, inside, 0.0).to(tl.float32) + tl.load(b_at + at % CHANNELS).to(
        tl.float32
    )
    tl.store(x_at + at, tl.where(x <= 0, 0.0, x), inside)


@triton.jit
def bias_relu_backward_kernel(
    g_at, y_at, r_at, sums_at, rows, CHANNELS: tl.constexpr, ROWS: tl.constexpr
):
    """Masks, and adds up over rows: each program a share of the rows."""
    channel = tl.arange(0, CHANNELS)
    total = tl.zeros((CHANNELS,), tl.float32)
    for first in range(tl.program_id(0) * ROWS, rows, tl.num_programs(0) * ROWS):
        row = first + tl.arange(0, ROWS)
        at = row[:, None] * CHANNELS + channel[None, :]
        inside = (row < rows)[:, None]
        g = tl.load(g_at + at, inside, 0.0).to(tl.float32)
        y = tl.load(y_at + at, inside, 0.0).to(tl.float32)
        g = tl.where(y > 0, g, 0.0)
        tl.store(r_at + at, g, inside)
        total += tl.sum(g, 0)
    tl.store(sums_at + tl.program_id(0) * CHANNELS + channel, total)


def masked(g, y):
    g = g.contiguous(memory_format=torch.channels_last)
    result = torch.empty_like(g)
    channels = g.shape[1]
    rows = g.numel() // channels
    programs = 528
    sums = torch.empty(programs, channels, device=g.device)
    bias_relu_backward_kernel[(programs,)](g, y, result, sums, rows, CHANNELS=channels, ROWS=32)
    return result, sums.sum(0)


class AddBias(torch.autograd.Function):
    """The gradient of the bias is a product with ones."""

    @staticmethod
    def forward(ctx, x, b):
        return x + b.to(x.dtype).view(-1, 1, 1)

    @staticmethod
    def backward(ctx, g):
        flat = g.permute(0, 2, 3, 1).reshape(-1, g.shape[1])
        ones = torch.ones(1, len(flat), device=g.device, dtype=g.dtype)
        return g, (ones @ flat)[0].float()


class BiasByProduct(CNN):
    def forward(self, images):
        x = images
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d):
                x = AddBias.apply(F.conv2d(x, layer.weight, padding=1), layer.bias)
            else:
                x = layer(x)
        return x


class BiasRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, b):
        x = x.contiguous(memory_format=torch.channels_last)
        bias_relu_kernel[(triton.cdiv(x.numel(), 1024),)](
            x, b, x.numel(), CHANNELS=x.shape[1], BLOCK=1024
        )
        ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx, g):
        return masked(g, ctx.saved_tensors[0])


class BiasReluInTriton(CNN):
    def forward(self, images):
        *layers, last = (m for m in self.layers if isinstance(m, nn.Conv2d))
        x = images
        for layer in layers:
            x = BiasRelu.apply(F.conv2d(x, layer.weight, padding=1), layer.bias)
        return F.conv2d(x, last.weight, last.bias, padding=1)


class ConvRelu(torch.autograd.Function):
    @staticmethod
    @torch.amp.custom_fwd(device_type="cuda", cast_inputs=torch.bfloat16)
    def forward(ctx, x, w, b):
        w = w.contiguous(memory_format=torch.channels_last)
        y = torch.cudnn_convolution_relu(x, w, b, [1, 1], [1, 1], [1, 1], 1)
        ctx.save_for_backward(x, w, y)
        return y

    @staticmethod
    @torch.amp.custom_bwd(device_type="cuda")
    def backward(ctx, g):
        x, w, y = ctx.saved_tensors
        g, bias = masked(g, y)
        more = ([1, 1], [1, 1], [1, 1], False, [0, 0], 1)
        x, w, _ = torch.ops.aten.convolution_backward(
            g, x, w, None, *more, [ctx.needs_input_grad[0], True, False]
        )
        return x, w, bias


class BiasReluByCudnn(CNN):
    def forward(self, images):
        *layers, last = (m for m in self.layers if isinstance(m, nn.Conv2d))
        x = images
        for layer in layers:
            x = ConvRelu.apply(x, layer.weight, layer.bias)
        return F.conv2d(x, last.weight, last.bias, padding=1)
