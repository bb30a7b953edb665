"""Lists the forms of CUDA's driver functions, as NVIDIA's `cudaTypedefs.h` declares them.

    python -m tests.support.cuda_forms nvidia/cuda_runtime/include nvidia/cu13/include

prints for each form its name, the version from which `cuGetProcAddress` hands it out, with "_ptsz"
behind it for the calling thread's own stream, and what its parameters are: `p` a pointer, `i4` and
`i8` numbers of so many bytes, `s64` a struct. The compiler says so; only facts are kept.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

TYPEDEF = re.compile(r"typedef CUresult \( ?\*PFN_(cu\w+?)_v(\d+)(_ptsz|_ptds)?\)\(([^()]*)\)")
PROGRAM = """
#include <stdio.h>
#define __CUDA_API_VERSION_INTERNAL
#include <cudaTypedefs.h>
#define SAY(FORM, MEMBER) do {{ \\
    int kind = __builtin_classify_type(((struct FORM *)0)->MEMBER); \\
    if (kind == 5) printf(" p"); \\
    else printf(" %c%zu", kind == 12 ? 's' : 'i', sizeof(((struct FORM *)0)->MEMBER)); }} while (0)
{structs}
int main(void) {{ {says} return 0; }}
"""


def forms(include: Path) -> dict[tuple[str, int, str], list[str]]:
    """Return the forms that the headers of a folder declare, with their parameters."""
    typedefs = "#define __CUDA_API_VERSION_INTERNAL\n#include <cudaTypedefs.h>\n"
    text = _output("cc", "-E", "-P", "-xc", "-I", str(include), "-", given=typedefs)
    found = {
        (name, int(version), suffix): parameters
        for name, version, suffix, parameters in TYPEDEF.findall(text)
    }
    structs, says = [], []
    for (name, version, suffix), parameters in found.items():
        form = f"{name}_v{version}{suffix}"
        members = [] if parameters.strip() == "void" else parameters.split(",")
        structs.append(f"struct {form} {{ {' '.join(f'{one};' for one in members)} }};")
        names = [re.findall(r"\w+", one)[-1] for one in members]
        says.append(
            f'printf("{form}"); {" ".join(f"SAY({form}, {one});" for one in names)} puts("");'
        )
    with tempfile.TemporaryDirectory() as directory:
        program = str(Path(directory) / "program")
        source = PROGRAM.format(structs="\n".join(structs), says="\n".join(says))
        _output("cc", "-w", "-xc", "-I", str(include), "-o", program, "-", given=source)
        lines = _output(program).splitlines()
    return {form: line.split()[1:] for form, line in zip(found, lines, strict=True)}


def _output(*command: str, given: str = "") -> str:
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=True)
    return done.stdout


def main() -> None:
    """Print the forms of all the folders."""
    every: dict[tuple[str, int, str], list[str]] = {}
    for include in sys.argv[1:]:
        every |= forms(Path(include))
    for (name, version, suffix), parameters in sorted(every.items()):
        sys.stdout.write(" ".join([name, f"{version}{suffix}", *parameters]) + "\n")


if __name__ == "__main__":
    main()
