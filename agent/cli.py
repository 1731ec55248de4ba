"""The `visavis` command."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from agent.errors import EXIT_FAILED, EXIT_INPUT, explain
from avatar.motion.asked_text import asked_of
from config import ConfigError, Loaded, load

app = typer.Typer(
    name="visavis",
    help="Vis-a-vis: give any assistant a face. One portrait, a live conversation, lip-synced video.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
portrait_app = typer.Typer(help="Look at portraits before you use them.", no_args_is_help=True)
config_app = typer.Typer(help="See the settings.", no_args_is_help=True)
app.add_typer(portrait_app, name="portrait")
app.add_typer(config_app, name="config")

out = Console()
err = Console(stderr=True)

Profile = Annotated[str | None, typer.Option("--profile", help="kiosk, customer-service, tutor, or a TOML file")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="any setting, e.g. --set kiosk.port=0")
]
Portrait = Annotated[str | None, typer.Option("--portrait", help="'default', an image, or a prepared identity")]
Face = Annotated[
    int | None, typer.Option("--face", help="which face of the portrait, when there are several; 0 is the largest")
]
Glasses = Annotated[str | None, typer.Option("--glasses", help="does the portrait wear glasses: auto, yes or no")]
Motion = Annotated[str | None, typer.Option("--motion", help="what moves the face: diffusion or articulation")]
Emotion = Annotated[
    str | None, typer.Option("--emotion", help="such as warm, happy:0.5, happy:0.5+surprised:0.3, neutral")
]
Liveliness = Annotated[str | None, typer.Option("--liveliness", help="composed, usual, animated, or 0 to 1")]
Gaze = Annotated[
    str | None, typer.Option("--gaze", metavar="RIGHT,UP", help="degrees, such as 10,0; 0,0 looks at the viewer")
]
Distance = Annotated[str | None, typer.Option("--distance", help="near, usual, far, or 0.78 to 1.28 times the usual")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="write the report here ('-' for standard output)")]


def settings_from(profile: str | None, pairs: list[str] | None, **overrides: Any) -> Loaded:
    """Settings with the command line's `--set` pairs and options on top."""
    given: dict[str, Any] = {}
    for pair in pairs or []:
        key, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"'{pair}' is not KEY=VALUE", param_hint="--set")
        given[key.strip()] = value
    given |= {key.replace("__", "."): value for key, value in overrides.items() if value is not None}
    loaded = load(profile, overrides=given)
    asked_of(loaded.settings.avatar, loaded.sources)  # config knows no emotions, so their names are checked here
    return loaded


def write_report(report: Any, path: Path | None) -> None:
    """Write a JSON report to a file, or to standard output for '-'."""
    if path is None:
        return
    text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    if str(path) == "-":
        sys.stdout.write(text)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


@app.command()
def run(
    profile: Profile = None,
    portrait: Portrait = None,
    face: Face = None,
    port: Annotated[int | None, typer.Option(help="port of the page; 0 picks a free one")] = None,
    debug: Annotated[
        bool | None, typer.Option("--debug/--no-debug", help="show technical details and the motion's controls")
    ] = None,
    set_: Set = None,
) -> None:
    """Start the kiosk: one page on this machine, no server, no account. Prints one link."""
    loaded = settings_from(
        profile, set_, avatar__portrait=portrait, avatar__face_index=face, kiosk__port=port, session__debug=debug
    )
    from agent.transports.kiosk import run_kiosk

    run_kiosk(loaded.settings)


@app.command()
def room(
    profile: Profile = None,
    portrait: Portrait = None,
    face: Face = None,
    url: Annotated[str | None, typer.Option(help="LiveKit server; started on loopback when none answers there")] = None,
    set_: Set = None,
) -> None:
    """The same conversation through a LiveKit room. Prints one link."""
    loaded = settings_from(profile, set_, avatar__portrait=portrait, avatar__face_index=face, room__url=url)
    from agent.transports.room import run_room

    run_room(loaded.settings)


@app.command()
def render(
    out_path: Annotated[Path, typer.Option("--out", help="the clip to write: .mp4, or .webm")],
    portrait: Portrait = None,
    face: Face = None,
    audio: Annotated[Path | None, typer.Option(help="speech to lip-sync: any audio or video file")] = None,
    text: Annotated[
        str | None, typer.Option(help="text to speak; captions are written beside the clip as .vtt")
    ] = None,
    drive: Annotated[
        Path | None, typer.Option(help="move the portrait by this capture: Live Link Face .csv, or our .json")
    ] = None,
    centre: Annotated[
        bool | None,
        typer.Option("--centre/--no-centre", help="with --drive: its usual head and gaze count as straight ahead"),
    ] = None,
    flip: Annotated[
        list[str] | None, typer.Option(help="with --drive: the head's yaw, pitch or roll is counted the other way")
    ] = None,
    arkit: Annotated[
        Path | None, typer.Option(help="also write the motion here: .csv (Live Link Face) or .json")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="seed of blinks, gaze and head motion")] = None,
    size: Annotated[int | None, typer.Option(help="height: 256, 512, 768 or 1024")] = None,
    framing: Annotated[str | None, typer.Option(help="square, or portrait for 9:16")] = None,
    background: Annotated[
        str | None, typer.Option(help="photo, transparent (.webm only), a colour such as #e8eef4, or an image file")
    ] = None,
    motion: Motion = None,
    emotion: Emotion = None,
    liveliness: Liveliness = None,
    gaze: Gaze = None,
    distance: Distance = None,
    json_path: JsonFile = None,
    profile: Profile = None,
    set_: Set = None,
) -> None:
    """Write a talking clip: one portrait plus audio or text gives an MP4 (H.264, AAC) or a WebM (VP9, Opus)."""
    if drive is not None:
        if text is not None:
            raise typer.BadParameter("a capture goes with --audio or with silence", param_hint="--drive/--text")
        if not set(flip or ()) <= {"yaw", "pitch", "roll"}:
            raise typer.BadParameter("give yaw, pitch or roll", param_hint="--flip")
    elif (audio is None) == (text is None):
        raise typer.BadParameter("give either --audio or --text", param_hint="--audio/--text")
    loaded = settings_from(
        profile, set_, avatar__portrait=portrait, avatar__face_index=face, avatar__seed=seed, avatar__size=size,
        avatar__framing=framing, avatar__background=background, avatar__motion=motion, avatar__emotion=emotion,
        avatar__liveliness=liveliness, avatar__gaze=gaze, avatar__distance=distance,
    )  # fmt: skip
    from agent.render import render_clip

    report = render_clip(
        loaded.settings,
        audio=audio,
        text=text,
        out_path=out_path,
        console=err,
        arkit=arkit,
        drive=drive,
        centre=centre,
        flip=flip or (),
    )
    write_report(report, json_path)
    err.print(
        f"{out_path}: {report['duration_s']:.1f} s, {report['frames']} frames, {report['speed_x']:.1f}x real time"
    )


@app.command()
def converse(
    wav: Annotated[list[Path], typer.Option("--wav", help="what the visitor says, in real time; may be repeated")],
    out_path: Annotated[Path, typer.Option("--out", help="the clip that the visitor would see: .mp4, or .webm")],
    portrait: Portrait = None,
    face: Face = None,
    json_path: JsonFile = None,
    profile: Profile = None,
    set_: Set = None,
) -> None:
    """Hold a real conversation without a browser: the WAV is the microphone, the reply is recorded."""
    loaded = settings_from(profile, set_, avatar__portrait=portrait, avatar__face_index=face)
    import asyncio

    from agent.converse import converse as hold

    report = asyncio.run(hold(loaded.settings, wav, out_path))
    write_report(report, json_path)
    for turn in report["turns"]:
        err.print(f"[bold]visitor[/] {turn['transcript']}\n[bold]avatar[/]  {turn['reply']}")


@app.command()
def doctor(json_path: JsonFile = None, profile: Profile = None, set_: Set = None) -> None:
    """What is installed, which defaults will be used and why, and what to do about what is missing."""
    from agent.doctor import diagnose

    findings = diagnose(settings_from(profile, set_).settings)
    table = Table("", "part", "what is used", "why", "to do")
    marks = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "missing": "[red]missing[/]"}
    for finding in findings:
        table.add_row(marks[finding.status], finding.part, finding.choice, finding.why, finding.todo)
    out.print(table)
    write_report([finding.as_dict() for finding in findings], json_path)
    if any(finding.status == "missing" for finding in findings):
        raise typer.Exit(EXIT_FAILED)


@app.command()
def bench(
    what: Annotated[str, typer.Argument(help="decoder, motion, loop or all")] = "all",
    json_path: JsonFile = None,
    quick: Annotated[bool, typer.Option(help="fewer repetitions; figures are rougher")] = False,
    profile: Profile = None,
    set_: Set = None,
) -> None:
    """Measure this machine."""
    from agent.bench import PARTS, run_bench

    if what not in (*PARTS, "all"):
        raise typer.BadParameter(f"'{what}' is not one of {', '.join(PARTS)}, all")
    figures = run_bench(settings_from(profile, set_).settings, what, quick=quick, console=err)
    table = Table("figure", "value")
    for name, value in figures.items():
        table.add_row(
            name, "not measured here" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
        )
    out.print(table)
    write_report(figures, json_path)


@portrait_app.command("check")
def portrait_check(
    image: Annotated[Path, typer.Argument(help="the portrait")],
    preview: Annotated[Path | None, typer.Option(help="write an annotated picture here (PNG)")] = None,
    face: Face = None,
    glasses: Glasses = None,
    json_path: JsonFile = None,
    profile: Profile = None,
    set_: Set = None,
) -> None:
    """Say whether a portrait will animate well, and what a better photo would be."""
    from avatar.portrait.check import check_portrait

    settings = settings_from(profile, set_, avatar__glasses=glasses).settings.avatar
    report = check_portrait(image, face_index=face, preview=preview, settings=settings)
    for line in report.lines:
        out.print(line)
    write_report(report.as_dict(), json_path)
    if not report.usable:
        raise typer.Exit(EXIT_INPUT)


@portrait_app.command("prepare")
def portrait_prepare(
    image: Annotated[Path, typer.Argument(help="the portrait")],
    out_path: Annotated[Path, typer.Option("--out", help="the identity to write, ending in .safetensors")],
    face: Face = None,
    glasses: Glasses = None,
    size: Annotated[int | None, typer.Option(help="height of the frames to come: 256, 512, 768 or 1024")] = None,
    profile: Profile = None,
    set_: Set = None,
) -> None:
    """Prepare a portrait once, as one file that any other machine can use with --portrait."""
    from avatar.decoders import prepared_size
    from avatar.identity import prepare_identity

    if out_path.suffix != ".safetensors":
        raise ConfigError(f"--out must end in .safetensors, not '{out_path.suffix}'.")
    settings = settings_from(profile, set_, avatar__glasses=glasses, avatar__size=size).settings.avatar
    identity = prepare_identity(image, face_index=face, size=prepared_size(settings), settings=settings)
    written = identity.save(out_path)
    out.print(f"{written}: ready; use it with --portrait {written}")


@config_app.command("show")
def config_show(profile: Profile = None, json_path: JsonFile = None, set_: Set = None) -> None:
    """Every setting, its value, and where the value came from. Secrets are never printed."""
    from config.load import leaves, shown

    loaded = settings_from(profile, set_)
    table = Table("setting", "value", "from")
    rows = {key: (shown(value), loaded.sources[key]) for key, value in leaves(loaded.settings)}
    for key, (value, source) in rows.items():
        table.add_row(key, value, source)
    if json_path is None:
        out.print(table)
    write_report({key: {"value": value, "from": source} for key, (value, source) in rows.items()}, json_path)


def main() -> None:
    """Entry point; errors that we raise on purpose become one sentence and an exit code."""
    try:
        app(standalone_mode=True)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        explained = explain(error)
        if explained is None:
            raise
        sentence, code = explained
        err.print(f"[red]visavis:[/] {sentence}", highlight=False, soft_wrap=True)
        sys.exit(code)
