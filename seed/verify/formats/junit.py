"""The report as JUnit XML, with a test case for each check; GitLab, Jenkins and GitHub actions read it."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from pgvector_seed.common.text import printable

from ..model import Report, Result, Status
from .words import details, mended, to_fix


def as_junit(report: Report) -> str:
    """Return the document. If the report is strict, a skip is a failure; an error of the run is a test case."""
    root = ET.Element("testsuites")
    suite = ET.SubElement(root, "testsuite", name="seed verify")
    wrong = frozenset(report.wrong)
    for result in report.results:
        _add_case(suite, result, wrong=result in wrong)
    if report.error:
        case = ET.SubElement(suite, "testcase", name="run", classname="verify")
        _add(case, "error", report.error, to_fix(report.remedy))
    _count(suite, report.seconds)
    if report.mended:
        ET.SubElement(suite, "system-out").text = mended(report)
    ET.indent(root)
    # ASCII with character references is valid in every encoding that the caller may write.
    document: bytes = ET.tostring(root, encoding="us-ascii", xml_declaration=True)
    return document.decode("ascii")


def _add_case(suite: ET.Element, result: Result, *, wrong: bool) -> None:
    classname = printable(f"verify.{result.place}" if result.place else "verify")
    time = f"{result.seconds:.3f}"
    case = ET.SubElement(suite, "testcase", name=printable(result.name), classname=classname, time=time)
    outcome = result.outcome
    if wrong:
        _add(case, "failure", outcome.message, [f"found {printable(outcome.message)}", *details(result)])
    elif result.is_known_failure:
        _add(case, "skipped", f"known: {outcome.message}", details(result))
    elif outcome.status is not Status.PASS:
        _add(case, "skipped", outcome.message, [])


def _add(case: ET.Element, tag: str, message: str, body: list[str]) -> None:
    ET.SubElement(case, tag, message=printable(message)).text = "\n".join(body) or None


def _count(suite: ET.Element, seconds: float) -> None:
    suite.set("tests", str(len(suite.findall("testcase"))))
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(attribute, str(len(suite.findall(f"testcase/{tag}"))))
    suite.set("time", f"{seconds:.3f}")
