"""An exported network as a file's bytes, from which a runtime makes something that can be called and timed."""

from __future__ import annotations

import copy
import functools
import importlib.metadata
import io
import tempfile
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from prunebench import samples
from prunebench.errors import said
from prunebench.measure.runtimes.exporting import Unexportable
from prunebench.samples import Tree

Runtime = Literal["onnxruntime", "openvino", "executorch"]
PROVIDERS = {"onnxruntime": "CPUExecutionProvider", "openvino": "CPU", "executorch": "XnnpackBackend"}
EXTRAS = {"executorch": "executorch"}  # of prunebench, what is not in `runtimes`
OPENVINO = {"NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32", "ENABLE_CPU_PINNING": False}
FORMS = 4  # compilations of a network by OpenVINO, which orders a network's operations anew each time,
FORMS_BYTES = 64 << 20  # as long as they take no more than that together
Shapes = tuple[tuple[int, ...], ...]


class Artifact(nn.Module):
    """A network's file for one runtime; a module only so that it can stand where a network does.

    It is ONNX but for ExecuTorch, which has a format of its own.
    """

    def __init__(self, data: bytes, runtime: Runtime, batch: int | None, quantizer: str = "") -> None:
        super().__init__()
        self.data, self.runtime, self.batch, self.quantizer = data, runtime, batch, quantizer
        self.file_bytes = file_bytes(data, runtime)
        self.left: tuple[str, ...] = ()  # operators that no kernel of the provider runs, where that is known
        self._compiled: dict[Any, tuple[bytes, ...]] = {}  # by shapes, threads and openness: what copies are built from
        self._fixed: dict[bool, tuple[str, ...]] = {}  # by openness: the names of an ONNX file's batch size

    def runner(self, x: Tree, threads: int, dynamic: bool) -> Runner:
        """What runs it on a copy of `x`; `dynamic` leaves the batch size open. Raises `Unexportable`."""
        inputs = tuple(leaf.detach().cpu().contiguous().clone() for leaf in samples.leaves(x))
        try:
            if self.runtime == "onnxruntime":
                if dynamic not in self._fixed:  # once: to make a session takes longer than many a run
                    self._fixed[dynamic] = () if dynamic else _free_dimensions(self.data, threads)
                return OnnxRuntimeRunner(_Setup(self.data, inputs, threads, self._fixed[dynamic]))
            if self.runtime == "executorch":
                return ExecuTorchRunner(_Setup(self.data, inputs, threads))
            key = (tuple(x.shape for x in inputs), threads, dynamic)
            if key not in self._compiled:
                self._compiled[key] = _openvino_forms(self.data, inputs, threads, dynamic)
            forms = self._compiled[key]
            return OpenVinoRunner(_Setup(forms[0], inputs, threads, forms=forms))
        except Exception as error:  # the border: a runtime raises whatever it met
            raise Unexportable(f"{self.runtime} refuses the network: {said(error, 300)}") from None


@dataclass(frozen=True, eq=False)
class _Setup:
    data: bytes
    inputs: tuple[Tensor, ...]
    threads: int
    fixed: tuple[str, ...] = ()  # the names of an ONNX file's open batch size, which gets that of the inputs
    forms: tuple[bytes, ...] = ()  # where there are several of `data`: a copy is made of the next one

    def again(self) -> _Setup:
        """For a copy, with inputs of its own."""
        forms = self.forms[1:] + self.forms[:1]
        return replace(self, data=(forms or (self.data,))[0], inputs=copy.deepcopy(self.inputs), forms=forms)


class Runner(nn.Module):
    """A program with its input bound: a call runs it on that, whatever it is called with.

    A copy is built anew from the file, at other addresses, with an input of its own.
    """

    def __init__(self, setup: _Setup) -> None:
        super().__init__()
        self.setup = setup

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    def __deepcopy__(self, memo: Any) -> Runner:
        return type(self)(self.setup.again())

    @property
    def byte_count(self) -> int:
        """About as much as a copy needs."""
        return len(self.setup.data)

    def outputs(self) -> list[Tensor]:
        """What it answers, as copies."""
        raise NotImplementedError


class OnnxRuntimeRunner(Runner):
    """ONNX Runtime on the CPU, input and output bound."""

    def __init__(self, setup: _Setup) -> None:
        import onnxruntime

        super().__init__(setup)
        session = _session(setup)
        self._bound = session.io_binding()
        for given, x in zip(session.get_inputs(), setup.inputs, strict=True):
            self._bound.bind_ortvalue_input(given.name, onnxruntime.OrtValue.ortvalue_from_numpy(x.numpy()))
        for answer in session.get_outputs():
            self._bound.bind_output(answer.name, "cpu")
        self._run = session.run_with_iobinding

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._run(self._bound)

    def outputs(self) -> list[Tensor]:
        """Of one run."""
        self()
        return [torch.from_numpy(answer.copy()) for answer in self._bound.copy_outputs_to_cpu()]


def _session(setup: _Setup) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = setup.threads, 1
    options.log_severity_level = 3
    for name in setup.fixed:
        options.add_free_dimension_override_by_name(name, len(setup.inputs[0]))
    return onnxruntime.InferenceSession(setup.data, options, providers=[PROVIDERS["onnxruntime"]])


def _free_dimensions(data: bytes, threads: int) -> tuple[str, ...]:
    first = [given.shape[0] for given in _session(_Setup(data, (), threads)).get_inputs() if given.shape]
    return tuple(sorted({name for name in first if isinstance(name, str)}))


@functools.cache
def _openvino() -> Any:
    """OpenVINO's core, one for the whole process.

    A core gives its thread a stack for signals, and puts back at its end the one that was there before. Of two cores
    that end in the order they began, the second puts back the first's, which is freed: the next signal ends it all.
    """
    import openvino

    return openvino.Core()


def _openvino_forms(data: bytes, inputs: tuple[Tensor, ...], threads: int, dynamic: bool) -> tuple[bytes, ...]:
    """Several compilations of a small network: what one of them has of its own must not stay with a side for good."""
    first = _openvino_compiled(data, inputs, threads, dynamic)
    count = max(1, min(FORMS, FORMS_BYTES // len(first)))
    return first, *(_openvino_compiled(data, inputs, threads, dynamic) for _ in range(count - 1))


def _openvino_compiled(data: bytes, inputs: tuple[Tensor, ...], threads: int, dynamic: bool) -> bytes:
    """The ONNX file as OpenVINO compiles it for these shapes; to load that takes a third as long as to compile."""
    model = _openvino().read_model(data)
    if not dynamic:
        model.reshape({place: list(x.shape) for place, x in zip(model.inputs, inputs, strict=True)})
    compiled = _openvino().compile_model(model, PROVIDERS["openvino"], {**OPENVINO, "INFERENCE_NUM_THREADS": threads})
    exported: io.BytesIO = compiled.export_model()
    return exported.getvalue()


class OpenVinoRunner(Runner):
    """OpenVINO on the CPU, in float32 as torch computes, input bound; `setup.data` is what it compiled once."""

    def __init__(self, setup: _Setup) -> None:
        super().__init__(setup)
        import openvino

        options = {**OPENVINO, "INFERENCE_NUM_THREADS": setup.threads}
        loaded = _openvino().import_model(setup.data, PROVIDERS["openvino"], options)
        self._request = loaded.create_infer_request()
        self._held = [openvino.Tensor(x.numpy(), shared_memory=True) for x in setup.inputs]
        for place, tensor in enumerate(self._held):
            self._request.set_input_tensor(place, tensor)
        self._run = self._request.infer

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._run()

    def outputs(self) -> list[Tensor]:
        """Of one run."""
        self()
        return [torch.from_numpy(tensor.data.copy()) for tensor in self._request.output_tensors]


class ExecuTorchRunner(Runner):
    """ExecuTorch on the CPU, by XNNPACK's kernels where it has them."""

    def __init__(self, setup: _Setup) -> None:
        super().__init__(setup)
        self._program = _executorch(setup.threads).load_program(setup.data)
        self._run = functools.partial(self._program.load_method("forward").execute, setup.inputs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._run()

    def outputs(self) -> list[Tensor]:
        """Of one run."""
        return [answer.clone() for answer in self()]


def _executorch(threads: int) -> Any:
    """ExecuTorch, whose one pool of threads has so many from now on: sessions made before must be gone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is called experimental throughout
        from executorch.extension.pybindings import portable_lib
        from executorch.runtime import Runtime as Loader

        if portable_lib._threadpool_get_thread_count() != threads:
            portable_lib._unsafe_reset_threadpool(threads)
    return Loader.get()


def require(runtime: str) -> None:
    """Raise `Unexportable` where the runtime is not installed."""
    try:
        importlib.metadata.version(runtime)
    except importlib.metadata.PackageNotFoundError:
        extra = EXTRAS.get(runtime, "runtimes")
        raise Unexportable(f"{runtime} is not installed: pip install 'prunebench[{extra}]'") from None


def file_bytes(data: bytes, runtime: Runtime) -> int:
    """On disk: of ONNX and ExecuTorch the file; of OpenVINO its own two, in float32. Raises `Unexportable`."""
    if runtime != "openvino":
        return len(data)
    import openvino

    try:
        model = _openvino().read_model(data)
    except Exception as error:  # the border
        raise Unexportable(f"openvino cannot read the network: {said(error, 300)}") from None
    with tempfile.TemporaryDirectory(prefix="prunebench-") as name:
        openvino.save_model(model, Path(name) / "network.xml", compress_to_fp16=False)
        return sum(file.stat().st_size for file in Path(name).iterdir())
