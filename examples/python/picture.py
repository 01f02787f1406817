"""The stages as a picture, before anything runs: Mermaid for a README, SVG for a page and a notebook. A pipeline that
runs has the same with its numbers."""

from DeepPipeline import Parallel, Pipeline, stage


def look(frame: int) -> int:
    return frame


poses, depth = stage(look, name="poses"), stage(lambda frame: frame, name="depth")
detect, show = stage(lambda frame: frame, name="detect"), stage(print, name="show")
pipeline = Pipeline([detect, Parallel([poses, depth]), show])
print(pipeline.to_mermaid(), end="")
print("an SVG picture:", "true" if pipeline.to_svg().startswith("<svg") else "false")
