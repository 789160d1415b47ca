"""The command line from outside: in a fresh process, and what an error must look like."""

import subprocess
import sys


def command(*arguments, cwd=None, timeout=120):
    """Run ignite-vision in a fresh process."""
    return subprocess.run(
        [sys.executable, "-m", "ignite_vision", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=timeout,
    )


def assert_one_error_line(result, *parts, code=2):
    """The exit code, one line `error: WHAT. NEXT STEP` on stderr, and nothing on stdout."""
    returned, out, err = result
    errors = [line for line in err.splitlines() if line.startswith("error:")]
    assert (returned, out, len(errors)) == (code, "", 1), (returned, out, err)
    assert "Traceback" not in err
    for part in parts:
        assert part in errors[0], errors[0]
