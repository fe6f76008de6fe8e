#!/usr/bin/env python3
"""Writes the JSON fixtures of tests/train: values that PyTorch 2.15 gives.

usage: make_fixtures.py FOLDER
"""

import json
import pathlib
import sys

import torch
import torch.nn.functional as F


def numbers(t):
    """Nine digits identify an f32."""
    return [float(f"{v:.9g}") for v in t.detach().double().flatten().tolist()]


def loss_cases():
    torch.manual_seed(1)
    cases = []

    def case(spec, x, t, function):
        for reduction in ("mean", "sum"):
            leaf = x.clone().requires_grad_(True)
            value = function(leaf, t, reduction)
            value.backward()
            cases.append({"spec": spec, "reduction": reduction, "dims": list(x.shape), "x": numbers(x),
                          "t_dims": list(t.shape), "labels": not t.is_floating_point(),
                          "t": numbers(t) if t.is_floating_point() else t.flatten().tolist(),
                          "value": numbers(value)[0], "gradient": numbers(leaf.grad)})

    def entropy(**k):
        return lambda x, t, r: F.cross_entropy(x, t, reduction=r, **k)

    labels = torch.tensor([2, 0, 4, 1, 2])
    x = torch.randn(5, 5) * 2
    case("cross_entropy", x, labels, entropy())
    case("cross_entropy", x * 60, labels, entropy())  # overflows without the shift
    case("cross_entropy", torch.zeros(5, 5), labels, entropy())
    case("cross_entropy,label_smoothing=0.1", x, labels, entropy(label_smoothing=0.1))
    ignored = torch.tensor([2, -100, 4, 1, -100])
    case("cross_entropy,ignore_index=-100", x, ignored, entropy(ignore_index=-100))
    case("cross_entropy,ignore_index=1,label_smoothing=0.3", x, labels,
         entropy(ignore_index=1, label_smoothing=0.3))
    distribution = torch.softmax(torch.randn(5, 5), 1)
    case("cross_entropy,probabilities=1", x, distribution, entropy())
    case("cross_entropy,probabilities=1,label_smoothing=0.2", x, distribution,
         entropy(label_smoothing=0.2))
    case("cross_entropy", torch.randn(2, 3, 4), torch.randint(0, 3, (2, 4)), entropy())
    case("cross_entropy", torch.randn(2, 3, 2, 2), torch.randint(0, 3, (2, 2, 2)),
         entropy())
    case("cross_entropy", torch.randn(7), torch.tensor(3), entropy())
    case("cross_entropy", torch.randn(1, 1), torch.tensor([0]), entropy())

    targets = torch.tensor([[0.0, 1.0, 0.5], [1.0, 0.0, 0.25]])
    logits = torch.tensor([[0.0, -90.0, 3.0], [95.0, 0.0, -1.5]])

    def bce(**k):
        return lambda x, t, r: F.binary_cross_entropy_with_logits(x, t, reduction=r, **k)

    case("binary_cross_entropy", logits, targets, bce())
    case("binary_cross_entropy,pos_weight=3", logits, targets, bce(pos_weight=torch.tensor(3.0)))

    y = torch.randn(3, 4) * 2
    z = torch.randn(3, 4)
    z[0, 0] = y[0, 0]
    case("mse", y, z, lambda x, t, r: F.mse_loss(x, t, reduction=r))
    case("l1", y, z, lambda x, t, r: F.l1_loss(x, t, reduction=r))
    case("huber", y, z, lambda x, t, r: F.huber_loss(x, t, reduction=r))
    case("huber,delta=0.5", y, z, lambda x, t, r: F.huber_loss(x, t, reduction=r, delta=0.5))
    case("smooth_l1", y, z, lambda x, t, r: F.smooth_l1_loss(x, t, reduction=r))
    case("smooth_l1,beta=0.3", y, z, lambda x, t, r: F.smooth_l1_loss(x, t, reduction=r, beta=0.3))
    case("smooth_l1,beta=0", y, z, lambda x, t, r: F.smooth_l1_loss(x, t, reduction=r, beta=0.0))
    case("multi_margin", x, labels, lambda x, t, r: F.multi_margin_loss(x, t, reduction=r))
    case("multi_margin,p=2,margin=0.7", x, labels,
         lambda x, t, r: F.multi_margin_loss(x, t, p=2, margin=0.7, reduction=r))
    signs = torch.tensor([[1.0, -1.0, 1.0, 1.0], [-1.0, -1.0, 1.0, -1.0], [1.0, 1.0, -1.0, 1.0]])
    # PyTorch has no binary hinge; this is the formula in its own operations.
    case("hinge", y, signs,
         lambda x, t, r: getattr(torch.clamp(1 - t * x, min=0), r)())
    log_p = torch.log_softmax(torch.randn(3, 4), 1)
    q = torch.softmax(torch.randn(3, 4), 1)
    q[1, 2] = 0
    case("kl_divergence", log_p, q, lambda x, t, r: F.kl_div(x, t, reduction=r))
    case("kl_divergence,batch_mean=1", log_p, q,
         lambda x, t, r: F.kl_div(x, t, reduction="batchmean" if r == "mean" else r))
    case("kl_divergence,log_target=1", log_p, torch.log_softmax(torch.randn(3, 4), 1),
         lambda x, t, r: F.kl_div(x, t, reduction=r, log_target=True))
    case("nll", torch.log_softmax(x, 1), labels, lambda x, t, r: F.nll_loss(x, t, reduction=r))
    case("nll,ignore_index=2", torch.log_softmax(x, 1), labels,
         lambda x, t, r: F.nll_loss(x, t, reduction=r, ignore_index=2))
    return cases


class Lamb(torch.optim.Optimizer):
    """You et al. 2019, algorithm 2, with phi(z) = z; PyTorch has none."""

    def __init__(self, params, lr, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.01):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            b1, b2 = group["betas"]
            for p in group["params"]:
                s = self.state[p]
                if not s:
                    s.update(t=0, m=torch.zeros_like(p), v=torch.zeros_like(p))
                s["t"] += 1
                s["m"] = b1 * s["m"] + (1 - b1) * p.grad
                s["v"] = b2 * s["v"] + (1 - b2) * p.grad ** 2
                r = (s["m"] / (1 - b1 ** s["t"])) / ((s["v"] / (1 - b2 ** s["t"])).sqrt() + group["eps"])
                u = r + group["weight_decay"] * p
                ratio = p.norm() / u.norm() if p.norm() > 0 and u.norm() > 0 else 1.0
                p.sub_(group["lr"] * ratio * u)


STEPS = 24


def optimizer_cases():
    torch.manual_seed(2)
    start = torch.tensor([0.5, -1.25, 2.0, 0.0])
    gradients = torch.randn(STEPS, 4)
    gradients[5] = 0  # a step without news
    gradients[6:9] *= 30

    def run(spec, make):
        p = start.clone().requires_grad_(True)
        optimizer = make([p])
        steps = []
        for g in gradients:
            p.grad = g.clone()
            optimizer.step()
            steps.append(numbers(p))
        return {"spec": spec, "steps": steps}

    o = torch.optim
    cases = [
        run("sgd,lr=0.1", lambda p: o.SGD(p, 0.1)),
        run("sgd,lr=0.1,weight_decay=0.2", lambda p: o.SGD(p, 0.1, weight_decay=0.2)),
        run("sgd,lr=0.05,momentum=0.9", lambda p: o.SGD(p, 0.05, momentum=0.9)),
        run("sgd,lr=0.05,momentum=0.9,dampening=0.4,weight_decay=0.01",
            lambda p: o.SGD(p, 0.05, momentum=0.9, dampening=0.4, weight_decay=0.01)),
        run("sgd,lr=0.05,momentum=0.8,nesterov=1,weight_decay=0.1",
            lambda p: o.SGD(p, 0.05, momentum=0.8, nesterov=True, weight_decay=0.1)),
        run("adam", lambda p: o.Adam(p)),
        run("adam,lr=0.05", lambda p: o.Adam(p, 0.05)),
        run("adam,lr=0.02,beta1=0.5,beta2=0.9,eps=1e-3,weight_decay=0.3",
            lambda p: o.Adam(p, 0.02, (0.5, 0.9), 1e-3, 0.3)),
        run("adam,lr=0.02,beta1=0,beta2=0.99", lambda p: o.Adam(p, 0.02, (0.0, 0.99))),
        run("adam,lr=0.02,amsgrad=1", lambda p: o.Adam(p, 0.02, amsgrad=True)),
        run("adamw,lr=0.02", lambda p: o.AdamW(p, 0.02)),
        run("adamw,lr=0.02,weight_decay=0.5,amsgrad=1",
            lambda p: o.AdamW(p, 0.02, weight_decay=0.5, amsgrad=True)),
        run("rmsprop", lambda p: o.RMSprop(p)),
        run("rmsprop,lr=0.03,alpha=0.9,weight_decay=0.1",
            lambda p: o.RMSprop(p, 0.03, 0.9, weight_decay=0.1)),
        run("rmsprop,lr=0.01,momentum=0.7", lambda p: o.RMSprop(p, 0.01, momentum=0.7)),
        run("rmsprop,lr=0.01,eps=1e-3,centered=1,momentum=0.5",
            lambda p: o.RMSprop(p, 0.01, eps=1e-3, centered=True, momentum=0.5)),
        run("adagrad,lr=0.1", lambda p: o.Adagrad(p, 0.1)),
        run("adagrad,lr=0.1,lr_decay=0.05,initial_accumulator=0.3,weight_decay=0.1",
            lambda p: o.Adagrad(p, 0.1, 0.05, 0.1, 0.3)),
        run("adadelta", lambda p: o.Adadelta(p)),
        run("adadelta,lr=0.5,rho=0.8,eps=1e-4,weight_decay=0.1",
            lambda p: o.Adadelta(p, 0.5, 0.8, 1e-4, 0.1)),
        run("rprop", lambda p: o.Rprop(p)),
        run("rprop,lr=0.1,eta_minus=0.3,eta_plus=1.5,step_max=0.4",
            lambda p: o.Rprop(p, 0.1, (0.3, 1.5), (1e-6, 0.4))),
        run("lamb,lr=0.05", lambda p: Lamb(p, 0.05)),
        run("lamb,lr=0.02,beta1=0.8,beta2=0.95,eps=1e-4,weight_decay=0.2",
            lambda p: Lamb(p, 0.02, (0.8, 0.95), 1e-4, 0.2)),
    ]
    return {"start": numbers(start), "gradients": [numbers(g) for g in gradients], "cases": cases}


def schedule_cases():
    s = torch.optim.lr_scheduler
    metrics = [1.0, 0.9, 0.95, 0.93, 0.92, 0.91, 0.5, 0.5, 0.5, 0.49999, 0.6, 0.7, 0.4, 0.4, 0.4, 0.4,
               0.4, 0.4, 0.4, 0.4]

    def run(spec, rate, make, plateau=False, count=20):
        p = torch.zeros(1, requires_grad=True)
        optimizer = torch.optim.SGD([p], rate)
        scheduler = make(optimizer)
        rates = []
        for t in range(count):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step(*([metrics[t]] if plateau else []))
        return {"spec": spec, "rate": rate, "rates": rates}

    cases = [
        run("step,every=4,gamma=0.5", 0.1, lambda o: s.StepLR(o, 4, 0.5)),
        run("multi_step,milestones=3:7:7:12,gamma=0.3", 1.0, lambda o: s.MultiStepLR(o, [3, 7, 7, 12], 0.3)),
        run("exponential,gamma=0.9", 0.2, lambda o: s.ExponentialLR(o, 0.9)),
        run("cosine,period=19,floor=0.01", 0.3, lambda o: s.CosineAnnealingLR(o, 19, 0.01)),
        run("polynomial,period=12,power=2", 0.3, lambda o: s.PolynomialLR(o, 12, 2.0)),
        run("polynomial,period=5", 0.3, lambda o: s.PolynomialLR(o, 5)),
        run("plateau,patience=2,factor=0.5", 0.4, lambda o: s.ReduceLROnPlateau(o, patience=2, factor=0.5), True),
        run("plateau,patience=1,factor=0.5,cooldown=3,min_rate=0.06", 0.4,
            lambda o: s.ReduceLROnPlateau(o, patience=1, factor=0.5, cooldown=3, min_lr=0.06), True),
        run("plateau,patience=1,maximize=1,absolute=1,threshold=0.01", 0.4,
            lambda o: s.ReduceLROnPlateau(o, "max", patience=1, threshold_mode="abs", threshold=0.01), True),
        run("warmup,length=5,factor=0.2+cosine,period=14", 0.3,
            lambda o: s.SequentialLR(o, [s.LinearLR(o, 0.2, total_iters=5), s.CosineAnnealingLR(o, 14)], [5])),
        run("warmup,length=4+step,every=3,gamma=0.1", 0.3,
            lambda o: s.SequentialLR(o, [s.LinearLR(o, total_iters=4), s.StepLR(o, 3, 0.1)], [4])),
        run("warmup,length=6,factor=0.5", 0.3, lambda o: s.LinearLR(o, 0.5, total_iters=6)),
    ]
    return {"metrics": metrics, "cases": cases}


def main():
    folder = pathlib.Path(sys.argv[1])
    for name, value in (("losses", loss_cases()), ("optimizers", optimizer_cases()),
                        ("schedules", schedule_cases())):
        (folder / f"{name}.json").write_text(json.dumps(value, indent=None).replace("}, {", "},\n{") + "\n")


if __name__ == "__main__":
    main()
