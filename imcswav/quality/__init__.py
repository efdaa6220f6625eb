"""What is wrong with a folder's images before anything is learnt from them: broken, tiny, blank, there twice."""

from imcswav.quality.inspection import Duplicate, Inspection, inspect_files, inspect_once

__all__ = ["Duplicate", "Inspection", "inspect_files", "inspect_once"]
