"""A reward file for OpenRLHF: pass its path as `--reward.remote_url examples/openrlhf_reward.py`.

Scores are those of `verify.math`; the length of the completion is logged beside them. To keep rewards out of
the trainer's process, with limits and a cache of verdicts, run a server instead and pass its address:

    guerdon serve --reward verify.math --port 8077
    ... --reward.remote_url http://127.0.0.1:8077/openrlhf
"""

from guerdon.adapters.openrlhf import make_reward_func

# A sample without a verdict (no answer to compare with, say) is worth 0 and logged: OpenRLHF cannot skip it.
reward_func = make_reward_func("verify.math", logs={"length": {"use": "verify.length"}}, on_missing=0.0)
