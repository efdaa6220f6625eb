"""What can be told of a training without labels while it runs: signs of trouble, their cause, what to change.

``probe`` looks at some images, ``rules`` judge what is logged, ``doctor`` remembers over steps; the callback ``health``
calls them and tells.
"""
