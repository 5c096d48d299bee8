"""The reward server: rewards and credit methods over HTTP, for trainers in other processes or languages.

`guerdon serve --reward verify.math` starts one; `guerdon.serve.client.Client` talks to it. Enters: records as
JSON or JSON Lines. Leaves: signals, or advantages. Scoring is that of `guerdon score`: the same killable
workers, limits and verdict cache.
"""
