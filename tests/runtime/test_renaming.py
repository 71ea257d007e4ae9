# ruff: noqa: E501  # recipes, and a line for each name
"""Another name in a recipe runs nothing: the matrix of all that recipes name, by keys."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from etude.compiler.keys import stage_key
from etude.runtime.compiling import compile_text

Edit = tuple[str, str]

DATA = 'digits = load("sklearn:digits") |> split(train = 60%, valid = 20%, test = 20%)\n'

GAN = (
    DATA
    + """maker = mlp([64, 64], out_act = sigmoid)
critic = mlp([64, 1], act = leaky_relu)
gan = train(on = digits.train, valid = digits.valid, score = ({image}) => mean(critic(reshape(image, [64])))) {
  updates = [
    step(update = {critic: critic}) {
      loss = ({image}) => {
        fake = critic(stop(maker(normal([image.shape[0], 16]))))
        return {realness: mean(softplus(-critic(flatten(image)))), fakeness: mean(softplus(fake))}
      }
    },
    step(update = {maker: maker}) {
      loss = ({image}) => mean(softplus(-critic(maker(normal([image.shape[0], 16])))))
    }
  ]
  keep = best
  budget = 20steps
}
a = measure(on = digits.test, ({image}) => mean(gan.critic(reshape(image, [64]))))
report { c = plot(gan.history, y = ["critic.loss", "maker.loss", "critic.realness", "valid.critic.loss"])  p = plot(gan.history) }
"""
)

TERMS = (
    DATA
    + """net = flatten >> mlp([16, 10])
t = train(on = digits.train, update = {net: net}) {
  loss = ({image, label}) => {task: cross_entropy(net(image), label), size: mean(square(net(image)))}
  valid = digits.valid
  keep = best
  budget = 20steps
  watch = {probe: m => accuracy(m, on = digits.test)}
}
a = accuracy(t.net, on = digits.test)
report { p = plot(t.history, y = ["task", "size", "loss", "valid.task", "watch.probe"])  q = plot(t.history) }
"""
)

STATE = (
    DATA
    + """encoder = flatten >> mlp([64, 32])
t = train(on = digits.train, update = {student: encoder}) {
  loss = ({image}, {student, teacher, center, zother}) => {
    target = stop(teacher(image))
    return {
      loss: mean(square(student(image + 0.1 * normal(image.shape)) - (target - center))),
      state: {center: 0.9 * center + 0.1 * mean(target, axis = 0), zother: zother + 1}
    }
  }
  ema    = {teacher: slow(encoder, 0.99)}
  state  = {center: zeros([32]), zother: zeros([2])}
  valid = digits.valid
  budget = 20steps
}
s = measure(on = digits.test, ({image}) => mean(t.teacher(image) + t.student(image) - t.state.center))
"""
)

SCORE = (
    DATA
    + """net = flatten >> mlp([16, 10])
t = train(on = digits.train, update = {net: net}) {
  loss = ({image, label}) => cross_entropy(net(image), label)
  valid = digits.valid
  score = ({image, label}) => {hits: argmax(net(image)) == label, sure: max(net(image))}
  keep = best
  budget = 20steps
}
a = accuracy(t.net, on = digits.test)
"""
)

METRIC = (
    DATA
    + """net = finetune(flatten >> mlp([16, 10]), on = digits.train, budget = 20steps)
scores = measure(on = digits.test, ({image, label}) => {
  p = softmax(net(image))
  return {acc: argmax(p) == label, top: auroc(p[0], label == 0), vec: p, w: {value: max(p), weight: p[0]}, macro: f1(argmax(p), label)}
})
byc = measure(on = digits.test, by = "label", ({image, label}) => {accu: argmax(net(image)) == label, conf: max(net(image))})
x = scores.acc + scores.top + scores.macro + byc.accu[0] + scores.w
y = sum(scores.vec)
expect scores.acc > 10%
report { r = {q: scores.acc, u: scores.w}  z = table([{one: scores.acc, two: scores.top}]) }
"""
)

TREE = (
    DATA
    + """net = finetune(flatten >> mlp([16, 10]), on = digits.train, budget = 20steps)
old = weights(net)
fisher = measure(on = digits.train, (x, y) => {f: square(grad(log_prob(net(x), y), wrt = weights(net))), acc: argmax(net(x)) == y})
t = train(on = digits.train, update = {net: net}) {
  loss   = (x, y) => cross_entropy(net(x), y) + 100 * sum(fisher.f * square(weights(net) - old))
  budget = 20steps
}
a = accuracy(t.net, on = digits.test) + fisher.acc
"""
)

MODEL = (
    DATA
    + """param size: int = 10
model dense(out: int)(x) {
  krn = weight([x.shape[-1], out], init = lecun_normal)
  b = weight([out], init = zeros)
  rng = running(mean(x, axis = 0), 0.1)
  return (x - rng) @ krn + b
}
fn build(k) = flatten >> dense(k)
net = build(size)
t = train(on = digits.train, update = {net: net}) {
  loss = ({image, label}) => cross_entropy(net(image), label)
  optimizer = adamw(lr = 1e-3, groups = [{at: "**.b", weight_decay: 0.0}])
  budget = 20steps
}
e = edit(t.net, at = "**.krn", w => w * 0.5)
a = accuracy(e, on = digits.test)
"""
)

ROWS = (
    DATA
    + """few = sample(digits.train, 10%)
net = finetune(flatten >> mlp([16, 10]), on = few, valid = digits.valid, budget = 20steps)
mapped = digits.test |> map(({image, label}) => {ink: mean(image), label})
a = accuracy(net, on = digits.test)
m = measure(on = mapped, ({ink}) => ink)
"""
)

PARTS = """digits = load("sklearn:digits") |> split(fit = 60%, exam = 40%, role = {exam: "test"})
net = finetune(flatten >> mlp([16, 10]), on = digits.fit, budget = 20steps)
a = accuracy(net, on = digits.exam)
"""

RUNS = (
    DATA
    + """rs = runs(1..2, s => {acc: accuracy(finetune(flatten >> mlp([16, 10]), on = digits.train, budget = 20steps), on = digits.test)})
sweep = [{lr, m: finetune(flatten >> mlp([16, 10]), on = digits.train, optimizer = adamw(lr = lr), budget = 20steps)} for lr in [1e-3, 1e-2]]
chosen = best(sweep, by = c => accuracy(c.m, on = digits.valid))
r = chosen.lr
fin = accuracy(chosen.m, on = digits.test)
claim = mean(rs.acc)
front = pareto(sweep, by = [c => accuracy(c.m, on = digits.valid), c => -flops(c.m, on = digits.valid)])
report { t = table([{lr: f.lr, front: f.front, parameters: size(f.m).parameters} for f in front]) }
w = when(fin > 50%, then = () => {num: 1.0, mod: chosen.m}, else = () => {num: 2.0, mod: chosen.m})
last = accuracy(w.mod, on = digits.test) + w.num
"""
)

STREAMS = (
    DATA
    + """net = flatten >> mlp([16, 10])
parts = split(digits.train, labelled = 20%, unlabelled = 80%)
t = train(on = {few: parts.labelled, many: parts.unlabelled}, update = {net: net}) {
  loss = ({few, many}) => {sup: cross_entropy(net(few.image), few.label), con: mean(square(net(many.image)))}
  budget = 20steps
}
a = accuracy(t.net, on = digits.test)
"""
)

COLLECT = (
    DATA
    + """x = collect(digits.train, ({image}) => {flat: reshape(image, [64]), ink: mean(image)})
y = sum(x.ink) + sum(mean(x.flat, axis = 0))
pts = rows([{digit: k, brightness: 1.0 * k} for k in 0..3])
q = measure(on = pts, ({brightness}) => brightness)
gen = generate(64examples, () => {noise: normal([4])})
z = measure(on = gen, ({noise}) => mean(noise))
zz = zip({one: [1, 2], two: [y, y]})
s = sum([i.two for i in zz])
"""
)

CHECKPOINTS = (
    DATA
    + """net = flatten >> mlp([16, 10])
t = train(on = digits.train, update = {net: net}) {
  loss = ({image, label}) => {task: cross_entropy(net(image), label)}
  budget = 3epochs
  keep = all
  watch = {probe: m => accuracy(m, on = digits.test)}
}
more = train(on = digits.train, update = {net: net}, resume = t, budget = 20steps) { loss = ({image, label}) => {task: cross_entropy(net(image), label)} }
chosen = best(t.checkpoints, by = c => accuracy(c.net, on = digits.valid))
st = chosen.step
right = accuracy(chosen.net, on = digits.test) + accuracy(more.net, on = digits.test)
"""
)

METHOD = (
    DATA
    + """fn denoise(std: float) {
  decoder = mlp([64, 64])
  return {
    models: {decoder: decoder},
    loss: (m, {image}) => {rec: mse(decoder(m(image + std * normal(image.shape))), flatten(image)), pen: mean(square(m(image)))}
  }
}
encoder = pretrain(flatten >> mlp([64, 32]), on = digits.train, method = denoise(0.1), budget = 2epochs)
a = measure(on = digits.test, ({image}) => mean(encoder(image)))
"""
)

FUNCTIONS = (
    DATA
    + """net = flatten >> mlp([16, 10])
t = train(on = digits.train, update = {net: net}) {
  loss = ({image, label}) => {
    tasks = {xs: stack([image[0:32], image[32:64]]), ys: stack([label[0:32], label[32:64]])}
    run = scan(image, from = {hid: 0.0}, (h, v) => {next: {hid: h.hid + mean(v)}, out: {o: h.hid}})
    return mean(each(tasks, ({xs, ys}) => cross_entropy(net(xs), ys))) + run.last.hid + mean(run.outs.o)
  }
  batch = 64
  budget = 20steps
}
a = accuracy(t.net, on = digits.test)
"""
)

FORMS = (
    DATA
    + """model pair(width: int)(x) {
  h = linear(width)(x)
  return {mean_: h, spread: softplus(linear(width)(x))}
}
enc = pair(8)
head = linear(10)
branches = [(x => {pic: x, pow_: x * 2}), (x => {pic: x + 1, pow_: x})]
t = train(on = digits.train, update = {enc: enc, head: head}) {
  loss = ({image, label}) => {
    e = enc(flatten(image))
    made = each({aa: e.mean_}, ({aa}) => {uno: aa * 2, due: aa})
    looped = loop (c = {one_: e.mean_, two_: e.spread}, i in 1..3) { return {one_: c.one_ * 0.5, two_: c.two_ + c.one_} }
    ch = choose(argmax(mean(e.mean_, axis = 0)), branches)(made.uno)
    return cross_entropy(head(looped.two_ + ch.pic + ch.pow_ + made.due), label) + mean(grad(sum(square(e.spread)), wrt = {gg: e.spread}).gg)
  }
  batch = 64
  budget = 20steps
}
a = measure(on = digits.test, ({image}) => mean(t.enc(reshape(image, [64])).mean_))
ens = [split(digits.train, left = 50%, right = 50%)]
b = measure(on = ens[0].left, ({image}) => mean(image))
"""
)

NOTHING: dict[str, tuple[str | Edit, ...]] = {
    "each record": (FORMS, ("uno", "eins")),
    "loop record": (FORMS, ("one_", "zzz")),
    "loop carry": (FORMS, ("c = {", "carried = {"), ("c.one_", "carried.one_"), ("c.two_", "carried.two_")),
    "loop variable": (FORMS, ("i in 1..3", "k in 1..3")),
    "choose record": (FORMS, ("pic", "aaa_")),
    "grad record": (FORMS, ("gg", "hh")),
    "split used once": (FORMS, ("left", "zleft")),
    "player": (
        GAN,
        ("{critic: critic}", "{judge: critic}"),
        ("gan.critic", "gan.judge"),
        ("critic.loss", "judge.loss"),
        ("critic.realness", "judge.realness"),
    ),
    "second player": (GAN, ("{maker: maker}", "{zmaker: maker}"), ("maker.loss", "zmaker.loss")),
    "term of a player": (GAN, ("realness", "zeal")),
    "term order-preserving": (TERMS, ("task", "main")),
    "term sort-changing": (TERMS, ("task", "aaa")),
    "term 2": (TERMS, ("size", "zzz")),
    "probe": (TERMS, ("probe", "look")),
    "single player": (TERMS, ("{net: net}", "{other: net}"), ("t.net", "t.other")),
    "state": (STATE, ("center", "middle")),
    "state sort": (STATE, ("center", "zzmiddle")),
    "student": (STATE, ("student", "pupil")),
    "teacher": (STATE, ("teacher", "master")),
    "teacher sort": (STATE, ("teacher", "aaa")),
    "score name": (SCORE, ("hits", "goals")),
    "second score": (SCORE, ("sure", "aaa")),
    "metric: average": (METRIC, ("acc:", "right:"), ("scores.acc", "scores.right")),
    "metric: set": (METRIC, ("top:", "area:"), ("scores.top", "scores.area")),
    "metric: vec": (METRIC, ("vec:", "dist:"), ("scores.vec", "scores.dist")),
    "metric: weighted": (METRIC, ("w:", "ww:"), ("scores.w\n", "scores.ww\n"), ("scores.w}", "scores.ww}")),
    "metric: by class": (METRIC, ("accu", "hits")),
    "metric: by class 2": (METRIC, ("conf:", "sureness:")),
    "metric: set 2": (METRIC, ("macro", "aaa")),
    "report entry": (METRIC, ("{ r = {", "{ rr = {"), ("z = table", "zz = table")),
    "table column": (METRIC, ("one:", "eins:")),
    "tree field": (TREE, ("f:", "fish:"), ("fisher.f", "fisher.fish")),
    "tree acc": (TREE, ("acc:", "hits:"), ("fisher.acc", "fisher.hits")),
    "weight": (MODEL, ("krn", "kernel")),
    "weight glob": (MODEL, ("b =", "bias ="), ("+ b\n", "+ bias\n"), ("**.b", "**.bias")),
    "running": (MODEL, ("rng", "slow_mean")),
    "model": (MODEL, ("dense", "layer")),
    "model parameter": (MODEL, ("(out: int)", "(width: int)"), (", out]", ", width]"), ("[out]", "[width]")),
    "model input": (
        MODEL,
        ("(x) {", "(inp) {"),
        ("x.shape", "inp.shape"),
        ("mean(x,", "mean(inp,"),
        ("(x - rng)", "(inp - rng)"),
    ),
    "function": (MODEL, ("build", "make_net")),
    "function parameter": (MODEL, ("(k)", "(kk)")),
    "param": (MODEL, ("size", "count")),
    "edit lambda": (MODEL, ("w => w * 0.5", "v => v * 0.5")),
    "split part": (ROWS, ("train =", "learn ="), ("digits.train", "digits.learn")),
    "split valid": (ROWS, ("valid = 20%", "held = 20%"), ("digits.valid", "digits.held")),
    "split role part": (PARTS, ("exam", "final")),
    "split fit part": (PARTS, ("fit =", "learn ="), ("digits.fit", "digits.learn")),
    "runs record": (RUNS, ("acc:", "hit:"), ("rs.acc", "rs.hit")),
    "runs binding": (RUNS, ("rs =", "many ="), ("rs.acc", "many.acc")),
    "sweep field": (
        RUNS,
        ("lr, m:", "lr, model:"),
        ("c.m", "c.model"),
        ("f.m)", "f.model)"),
        ("chosen.m", "chosen.model"),
    ),
    "sweep var lr": (
        RUNS,
        ("{lr, m", "{rate: q, m"),
        ("lr = lr", "lr = q"),
        ("for lr in", "for q in"),
        ("chosen.lr", "chosen.rate"),
        ("lr: f.lr", "lr: f.rate"),
    ),
    "when field": (RUNS, ("num", "number")),
    "when model field": (RUNS, ("mod:", "what:"), ("w.mod", "w.what")),
    "stream": (STREAMS, ("few", "some")),
    "stream 2": (STREAMS, ("many", "aaa")),
    "collect field": (COLLECT, ("flat", "pixels")),
    "collect field 2": (COLLECT, ("ink", "dark")),
    "zip field": (COLLECT, ("two", "zwei")),
    "checkpoint result": (
        CHECKPOINTS,
        ("{net: net}", "{other: net}"),
        ("c.net", "c.other"),
        ("chosen.net", "chosen.other"),
        ("more.net", "more.other"),
    ),
    "resume term": (CHECKPOINTS, ("task", "main")),
    "method models": (METHOD, ("{decoder: decoder}", "{undo: decoder}")),
    "method local": (METHOD, ("decoder", "dec")),
    "method term": (METHOD, ("rec:", "mse_:")),
    "each fields": (FUNCTIONS, ("xs", "a_xs"), ("ys", "a_ys")),
    "scan fields": (FUNCTIONS, ("hid", "state_")),
    "scan out": (FUNCTIONS, ("{o:", "{oo:"), ("outs.o)", "outs.oo)")),
}

# What is a part of the data, or of a model's structure, from which its fresh numbers are drawn.
SOMETHING: dict[str, tuple[str | Edit, ...]] = {
    "a field of a model's result": (FORMS, ("mean_", "middle")),
    "another field of a model's result": (FORMS, ("spread", "aaa")),
    "a column of map": (ROWS, ("ink: mean", "dark: mean"), ("({ink}) => ink", "({dark}) => dark")),
    "a column of rows": (COLLECT, ("brightness", "light")),
    "a column of generate": (COLLECT, ("noise", "nnn")),
}


@cache
def keys(text: str) -> frozenset[str]:
    """The keys of all stages of a recipe, as they are where each output is what its stage and place say."""
    compilation = compile_text(text, "recipe.etude", Path())
    assert compilation.workflow is not None, [str(each.message) for each in compilation.diagnostics]
    stages, found = compilation.workflow.stages, dict[str, str]()
    for stage in stages.values():
        inputs = [f"{found[ref.stage]}.{list(stages[ref.stage].outputs).index(ref.port)}" for ref in stage.inputs]
        found[stage.id] = stage_key(stage, inputs, "torch", "float32")
    return frozenset(found.values())


def edited(text: str, *edits: Edit) -> str:
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize("what", NOTHING)
def test_another_name_is_the_same_key(what: str) -> None:
    text, *edits = NOTHING[what]
    assert keys(edited(text, *edits)) == keys(text)  # type: ignore[arg-type]


@pytest.mark.parametrize("what", SOMETHING)
def test_another_name_of_data_is_another_key(what: str) -> None:
    text, *edits = SOMETHING[what]
    assert keys(edited(text, *edits)) != keys(text)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", [GAN, TERMS, STATE, METRIC])
def test_other_numbers_are_other_keys(text: str) -> None:
    assert keys(edited(text, ("60%", "50%"))) != keys(text)
