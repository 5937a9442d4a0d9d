"""The ``mopex`` command. Only names and texts are loaded here; the work is imported when it starts."""

from __future__ import annotations

import atexit
import gc
import os
import shlex
import sys

# Processes, not threads: the same sums in any number of them.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from pymopex import __version__
from pymopex.kit import cached_code, signals
from pymopex.kit.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_INPUT,
    EXIT_INTERRUPTED,
    EXIT_TERMINATED,
    InputError,
    TaskFailed,
    Terminated,
)

_USAGE = """usage: mopex TASK NAMELIST [KEY=VALUE ...]   run one module on the products of a run
       mopex TASK --help | --template        its parameters | a commented block for a namelist
       mopex list                            all tasks
       mopex new PIPELINE|flow [INSTRUMENT]  write template namelists here; without more: which there are
       mopex prepare FOLDER [KEY=VALUE ...]  lists of frames from a download of the archive
       mopex cal add PATH... | find FRAME|LIST [--stand-in] | list
                                             calibration files: index them, find those of frames
       mopex report OUTPUT_DIR               one page on a run: what it did, and how good it is
       mopex view OUTPUT_DIR                 build, run and look at a flow in a browser on this machine
       mopex send FILE... [--regions FILE]   images, tables, outlines of frames to DS9 and TOPCAT (SAMP), or as regions
       mopex clean NAMELIST... [--list]      delete the intermediate files of a run, or list them
       mopex home FOLDER                     a folder for scripts that copy cal/ and cdf/ from that of MOPEX
       mopex --version

Pipelines: overlap.sh, mosaic.sh, apex.sh, apex_qa.sh -n NAMELIST [-I images -S sigmas -d masks -O out ...]
One image: apex_1frame.sh -n NAMELIST [-i image -s sigma -d mask -p prf -O out ...]
Positions: apex_user_list.sh, apex_user_list_1frame.sh -n NAMELIST -u list [...]
Several:   flow.sh -I images -S sigmas -d masks -m prfmap.tbl -O out overlap.nl mosaic.nl apex.nl apex_qa.nl
Parts:     --from MODULE begins with a module, --only MODULE runs it alone, --resume goes on with a run that was cut;
           --help of each tells its flags and modules
"""


def main(words: list[str] | None = None) -> int:
    """Run the command line; gives the exit status (0 done, 1 failed, 2 bad input, 130 interrupted, 143 terminated)."""
    words = sys.argv[1:] if words is None else list(words)
    # Libraries make a million objects that stay: looking for garbage among them takes a tenth of a start and an end.
    gc.set_threshold(200_000)
    atexit.register(gc.freeze)
    cached_code.load_without_compiler()
    try:
        with signals.caught():
            return _dispatch(words)
    except InputError as problem:
        _fail(str(problem))
        return EXIT_INPUT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except (KeyboardInterrupt, Exception) as problem:
        return _failed(signals.received() or problem, words)


def _failed(problem: BaseException, words: list[str]) -> int:
    """Tell of a failure that is not the user's mistake, and how to go on; gives the exit status."""
    status, text = EXIT_FAILED, _told(problem)
    if isinstance(problem, KeyboardInterrupt):
        status = EXIT_TERMINATED if isinstance(problem, Terminated) else EXIT_INTERRUPTED
    if text:
        _fail(text)
    else:
        _fail(f"internal failure, please report it: {type(problem).__name__}: {problem}")
        import traceback

        traceback.print_exception(problem)
    again = _again(words)
    if again:
        from pymopex.kit import log

        log.say(f"To go on: {again}")
    return status


def _told(problem: BaseException) -> str:
    """Say what happened; empty for a failure that nobody has thought of."""
    if isinstance(problem, KeyboardInterrupt):
        return "terminated" if isinstance(problem, Terminated) else "interrupted"
    if isinstance(problem, TaskFailed):
        return str(problem)
    if _lacks_memory(problem):
        return (
            f"not enough memory ({str(problem) or 'the system gives no more'}): cut smaller tiles (--memory 1GB), "
            "or take fewer processes (do_multiprocess=manual ncpu_multiprocess=1)"
        )
    from pymopex.kit.files import reason_of

    reason = reason_of(problem)
    name = getattr(problem, "filename", None)
    return f"{name}: {reason}" if reason and name else reason


def _lacks_memory(problem: BaseException) -> bool:
    import errno

    if isinstance(problem, ImportError):  # of a library
        return "failed to map segment" in str(problem) or "annot allocate memory" in str(problem)
    return isinstance(problem, MemoryError) or (
        isinstance(problem, OSError) and problem.errno == errno.ENOMEM
    )


def _again(words: list[str]) -> str:
    """Give the command that goes on with a pipeline or a flow; empty for other commands."""
    words = words[1:] if words[:1] == ["legacy"] else words
    name = f"{words[1]}.sh" if words[:1] == ["drive"] and len(words) > 1 else ""
    rest = words[2:]
    if not name and words:
        name, rest = (
            {"flow": "flow.sh"}.get(words[0], words[0] if words[0].endswith(".pl") else ""),
            words[1:],
        )
    parts = any(word.startswith(("--from", "--only")) for word in rest)
    if not name or parts:
        return ""
    return shlex.join([name, *(word for word in rest if word != "--resume"), "--resume"])


def legacy() -> int:
    """Run a command under its legacy name: ``overlap.pl`` is ``overlap.sh``, ``HDR_Split.pl`` the task hdr_split."""
    return main(["legacy", os.path.basename(sys.argv[0]), *sys.argv[1:]])


def _fail(text: str) -> None:
    from pymopex.kit import log

    log.fail(text)


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_USAGE, end="")
        return EXIT_DONE
    if words[0] == "--version":
        print(f"pymopex {__version__}")
        return EXIT_DONE
    name, rest = words[0], words[1:]
    commands = {
        "list": _list,
        "drive": _drive,
        "flow": _flow,
        "new": _new,
        "manual": _manual,
        "home": _home,
        "cal": _cal,
        "report": _report,
        "view": _view,
        "send": _send,
        "clean": _clean,
    }
    if name == "legacy":
        from pymopex.kit import legacy as translator

        return _dispatch(translator.command(rest[0], rest[1:]))
    if name in commands:
        return commands[name](rest)
    return _task(name, rest)


def _list(_: list[str]) -> int:
    from pymopex.kit import sheets

    for name in sheets.tasks():
        print(f"{name:28s}{sheets.sheet(name).purpose}")
    return EXIT_DONE


def _drive(words: list[str]) -> int:
    from pymopex.kit import driver, log, manual

    pipeline, rest = words[0], words[1:]
    if rest and rest[0] in ("-h", "--help"):
        print(manual.driver_help(pipeline), end="")
        return EXIT_DONE
    driver.drive(pipeline, driver.pipeline_tasks(pipeline), driver.parse_command(rest, pipeline))
    log.say(f"{pipeline} terminated normally")
    return EXIT_DONE


def _flow(words: list[str]) -> int:
    from pymopex.kit import driver, flow, log, manual

    if not words or words[0] in ("-h", "--help"):
        print(manual.driver_help("flow"), end="")
        return EXIT_DONE
    flow.flow(driver.parse_command(words, "flow"))
    log.say("flow terminated normally")
    return EXIT_DONE


def _new(words: list[str]) -> int:
    from pymopex.kit import templates

    for line in templates.write(words) if words else templates.listing():
        print(line)
    return EXIT_DONE


def _home(words: list[str]) -> int:
    from pymopex.kit import home

    if len(words) != 1 or words[0].startswith("-"):
        if words[:1] not in (["-h"], ["--help"]):
            raise InputError("home: one new folder is needed: mopex home FOLDER")
        print(
            "usage: mopex home FOLDER    writes FOLDER/bin, cal, cdf and mopex-script-env.csh, as MOPEX has them"
        )
        return EXIT_DONE
    print(f"{words[0]}: {len(home.write(words[0]))} files and links")
    return EXIT_DONE


def _manual(words: list[str]) -> int:
    from pymopex.kit import pages

    for path in pages.write(words[0] if words else "docs/manual"):
        print(path)
    return EXIT_DONE


def _report(words: list[str]) -> int:
    if len(words) != 1 or words[0].startswith("-"):
        asked = words[:1] in (["-h"], ["--help"])
        if not asked:
            raise InputError("report: one output directory is needed: mopex report OUTPUT_DIR")
        print(
            "usage: mopex report OUTPUT_DIR    writes OUTPUT_DIR/report.html, one page that needs no other file"
        )
        return EXIT_DONE
    from pymopex.kit import lock
    from pymopex.kit.report import write_report

    with lock.hold(words[0], make=False):
        print(write_report(words[0]))
    return EXIT_DONE


def _cal(words: list[str]) -> int:
    from pymopex.kit import calcommand

    calcommand.run(words)
    return EXIT_DONE


def _view(words: list[str]) -> int:
    from pymopex.view import command

    command.run(words)
    return EXIT_DONE


def _send(words: list[str]) -> int:
    from pymopex.kit import sending

    sending.run(words)
    return EXIT_DONE


def _clean(words: list[str]) -> int:
    if any(word in ("-h", "--help") for word in words):
        print(
            "usage: mopex clean NAMELIST... [--list] [KEY=VALUE ...]    deletes intermediate files of finished runs, "
            "or lists them"
        )
        return EXIT_DONE
    from pymopex.kit import cleaning, driver, log
    from pymopex.kit.parallel import Pool
    from pymopex.kit.task import Run

    command = driver.parse_command([word for word in words if word != "--list"])
    if not command.namelists:
        raise InputError("clean: a namelist is needed: mopex clean NAMELIST... [--list]")
    settings = [driver.open_settings(path, command.overrides) for path in command.namelists]
    runs = [Run(one, Pool(1)) for one in settings]
    found = [cleaning.listed(run) for run in runs]  # all are looked at before the first file goes
    if "--list" in words:
        for path in dict.fromkeys(path for paths in found for path in paths):
            print(path)
        return EXIT_DONE
    for run in runs:
        cleaning.delete_intermediate(run)
    log.say("clean terminated normally")
    return EXIT_DONE


def _task(name: str, words: list[str]) -> int:
    from pymopex.kit import manual, sheets
    from pymopex.kit.errors import suggestion

    if name not in sheets.tasks():
        raise InputError(f"{name}: no such task{suggestion(name, sheets.tasks())}; 'mopex list' names all")
    if any(word in ("-h", "--help") for word in words):
        print(manual.task_help(name), end="")
        return EXIT_DONE
    if "--template" in words:
        print(manual.template(name), end="")
        return EXIT_DONE
    return _run_task(name, words)


def _run_task(name: str, words: list[str]) -> int:
    from pymopex.kit import driver, log, namelist, sheets
    from pymopex.kit.parameters import Settings
    from pymopex.kit.task import Run
    from pymopex.kit.working import at_work

    command = driver.parse_command(words)
    if command.start or command.resume:
        flags = "--resume is" if command.resume else "--from and --only are"
        raise InputError(f"{name}: {flags} for pipelines, such as flow.sh")
    tool = sheets.sheet(name).tool
    optional = tool or not sheets.sheet(name).uses or name in ("simulate", "make_prf", "prepare")
    if name == "prepare" and len(command.namelists) == 1 and not command.namelists[0].endswith(".nl"):
        command.overrides["Input_Dir"] = command.namelists.pop()
    if name == "complete" and len(command.namelists) == 1 and os.path.isdir(command.namelists[0]):
        from pymopex.kit.artificial import apex_namelist

        command.namelists[0] = apex_namelist(command.namelists[0])
    if len(command.namelists) > 1 or (not command.namelists and not optional):
        raise InputError(f"{name}: one namelist is needed: mopex {name} NAMELIST [KEY=VALUE ...]")
    if command.namelists:
        pipeline = None if not optional else "mosaic"
        settings = driver.open_settings(command.namelists[0], command.overrides, pipeline, name)
    else:
        settings = Settings(namelist.Namelist("command line"), "mosaic", command.overrides, name)
    run = Run(settings)
    frames = not tool and driver.needs_frames([name])
    with at_work(run, lambda: driver.check(run, [name], need_frames=frames), make=not optional):
        driver.execute(run, [name])
    log.say(f"{name} terminated normally")
    return EXIT_DONE


if __name__ == "__main__":
    raise SystemExit(main())
