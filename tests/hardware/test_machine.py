import pytest

from jaxnas.hardware import machine

PC = (
    "processor : 0\n"
    "model name : A: fast one\n"
    "cpu MHz : 800.5\n"
    "\n"
    "processor : 1\n"
    "model name : A: fast one\n"
    "cpu MHz : 2445.404\n"
)
ARM = "processor : 0\nBogoMIPS : 108.00\nFeatures : fp asimd\n"


@pytest.fixture
def files(monkeypatch, tmp_path):
    """Writes what the machine says of itself."""
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(machine, "BOARD", tmp_path / "model")
    monkeypatch.setattr(machine, "CORES", tmp_path)

    def write(**texts):
        for name, text in texts.items():
            path = tmp_path / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return write


def test_a_pc(files):
    files(cpuinfo=PC)
    assert (machine.processor(), machine.clock()) == ("A: fast one", "2445 MHz")


def test_a_raspberry_pi(files):
    files(cpuinfo=ARM, model="Raspberry Pi 5 Model B Rev 1.0\0")
    files(
        cpu0__cpufreq__scaling_cur_freq="1500000\n",
        cpu1__cpufreq__scaling_cur_freq="2400000\n",
        cpu2__cpufreq__scaling_cur_freq="?",
    )
    assert (machine.processor(), machine.clock()) == ("Raspberry Pi 5 Model B Rev 1.0", "2400 MHz")


def test_int8_sums_overflow_where_there_is_no_vnni(files, monkeypatch):
    files(cpuinfo=PC + "flags : fpu avx2 avx512_vnni\n")
    monkeypatch.setattr(machine.platform, "machine", lambda: "x86_64")
    assert not machine.int8_saturates()
    files(cpuinfo=PC + "flags : fpu avx2 avx512f\n")
    assert machine.int8_saturates()
    machine.CPUINFO.unlink()
    assert machine.int8_saturates()
    monkeypatch.setattr(machine.platform, "machine", lambda: "aarch64")
    assert not machine.int8_saturates()


def test_a_machine_that_says_nothing(files, monkeypatch):
    monkeypatch.setattr(machine.platform, "processor", lambda: "")
    monkeypatch.setattr(machine.platform, "machine", lambda: "riscv64")
    assert (machine.processor(), machine.clock()) == ("riscv64", "")
    files(cpuinfo="cpu MHz : ?\n")
    assert (machine.processor(), machine.clock()) == ("riscv64", "")
