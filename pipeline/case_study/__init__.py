"""The 2014 incident, replayed on real demand in three worlds, through the house's own stages and its HTTP service."""

from pipeline.case_study.story import CaseStudyResult, run

__all__ = ["CaseStudyResult", "run"]
