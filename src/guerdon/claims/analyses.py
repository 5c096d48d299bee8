"""Why a result came out as it did: measured after the run, beside the experiment, so that it stays as it was.

Figures of advantages are those of `benchmarks/claims_signals.py` (10 seeds, mean): correlation with exact
Q - V, cosine of their gradient with the exact one. The rest is measured on the seeds that step sizes were
chosen on, at the best of the claim's step sizes where none is named.
"""

from __future__ import annotations

ANALYSES = {
    "crew": (
        "What the answer's confidence cannot see decides it. On two further seeds 31 % of all solutions take "
        "their last hop rightly after an earlier mistake: CRew tells these from right ones with an AUROC of "
        "0.51, the whole likelihood with 0.88. Where only the last hop is wrong (15 %) it is 0.80 and 0.82, "
        "where both are (12 %) 0.97 and 0.97. Here an answer follows from the letter before it alone; a "
        "language model also looks back at the question, and notices more. The most confident of 16 is right "
        "less often than a sample (26 against 38 %): it is the one that ends on an easy hop."
    ),
    "gigpo": (
        "What the method promises shows in its advantages (correlation 0.27 against 0.14 for GRPO, cosine "
        "0.53 against 0.24) and at small steps: mean success 48 against 19 % at the smallest step size. "
        "Where each arm may choose its step size, most of it goes: GRPO makes up for noise by larger ones. "
        "This is the third version that was looked at: the first two had no limit on the moves of logits "
        "and 50 updates, and came to +2.0 (-1.7 to 5.6, 10 seeds) and +1.0 (-2.4 to 4.4, 30 seeds)."
    ),
    "laser": (
        "The ratings never learn to verify: F1 0.41 after training. On a further seed, calibration alone "
        "stays at an AUROC of 0.34 to 0.52 on test questions over 400 updates, while the model unlearns the "
        "map (31 to 7 % right). So small a model, trained from scratch on answers only, has nothing to "
        "verify with. Weighting votes by such ratings costs 6 of the 12.5 points, lost accuracy the rest."
    ),
    "likelihood-rewards": (
        "Half of it: right thoughts become likelier, references do not become less perplexing (10.9 against "
        "10.8). On the tuning seeds, at a step size of 1e-3, right thoughts come to 26 and 39 % without the "
        "gradient of the reward itself and to 22 and 29 % with it, perplexity to 16.7 and 12.1 without and "
        "14.2 and 11.2 with it: what is learned behind wrong thoughts makes thinking matter less."
    ),
    "oprl-istar": (
        "The model does learn: correlation of advantages 0.31 against 0.15 for leave-one-out, cosine 0.38 "
        "against 0.23. Yet two of the ten seeds lose 34 and 37 points; the others differ by -7 to +7."
    ),
    "portool": (
        "The tree costs it, not the comparison of forks: GRPO reaches 49 % on independent rollouts and 39 % "
        "on the leaves of the same tree, which share prefixes and so differ less; PORTool 40 % on the tree, "
        "43 % without its execution reward (eta 0). That reward alone decides where all outcomes of a group "
        "are equal, normalised to unit spread: correlation of advantages 0.14 with it, 0.26 without. The "
        "published eta is not known."
    ),
    "prime": (
        "The implicit model adds nothing here: its log-ratios have a correlation of 0.19 and a cosine of "
        "-0.04, the outcome's advantages 0.35 and 0.30, both together 0.33 and 0.26. A table shares nothing "
        "between derivations, so the model knows of a step what the outcomes of that very step said."
    ),
    "prorag": (
        "A first version, with an untrained policy, smaller step sizes and ten seeds, was undecided: +7.0 "
        "(-0.8 to 14.8); supported answers were rare in both arms (2 and 9 %)."
    ),
    "random-calculation": (
        "Coin flips alone move the policy by +1.3 points (-11.0 to 13.7), from -29 to +32 in single seeds: "
        "at the step size that did best on the seeds for choosing one they are a random walk, not a gain. "
        "The ten ways to answer include the right one, which correct rewards find within 20 updates."
    ),
    "rlfr": (
        "Deviations hardly know of mistakes: an AUROC of 0.52 for right against wrong hops. On a further "
        "seed a field that learns longer reaches 0.56 on the first layer and 0.60 on the last (800 steps), "
        "the norm of the states 0.54 and the model's own log-prob of the hop 0.89. A token is charged 0.01 "
        "at most, where advantages are about 1."
    ),
    "rlp": (
        "Before either training a sampled thought leads to the right letter in 33 % of test texts: RLP gains "
        "24 points on that, reading on loses 10; without a thought neither does better under any seed."
    ),
    "salt": (
        "Averaging over merged edges improves advantages a little (correlation 0.23 against 0.17, cosine "
        "0.18 against 0.16). No value travels along the graph, and an edge seen once keeps its noise. "
        "A first version without a limit on the moves of logits, 50 updates and ten seeds, came to -3.8 "
        "(-5.0 to -2.5)."
    ),
    "self-aligned-reward": (
        "Half of it, and barely after a second look: answers get shorter (8.3 against 11.0 tokens), not more "
        "often right (54 against 57 %); the metric weighs both. On two further seeds, before training, right "
        "answers given at once have a SAR of 0.35, right paths 0.39, right paths behind filler 0.17: it "
        "tells filler from the rest, hardly more."
    ),
    "spa-rl": (
        "The bonus of 0.5 per executable action is worth up to 15 in an episode, the final reward 1: the "
        "policy learns not to end (29.6 to 30 of 30 moves at every step size). Without the bonus it reaches "
        "18 % instead of 8 %, the final reward alone 73 %: contributions do point the right way (correlation "
        "0.42 with exact advantages), but a step is paid again whenever it is repeated."
    ),
    "vsrm": (
        "Look-ahead pays the idle steps before a jump too, so undiscounted sums count it several times. Mean "
        "right answers per ten steps at a step size of 80: 0.65 as it is, 0.88 without look-ahead, 1.26 with "
        "sums discounted by 0.9, 1.48 with every step's own reward alone; 0.99 for the outcome."
    ),
    "co-reward": (
        "Voting within a wording ends where the teacher's most likely answers are (75 % of them right, the "
        "arm ends at 77); the other wording's vote also mends questions in which only one wording has a "
        "strong habit (93 % have a right most likely answer in one of the two), two fifths of what that "
        "allows. Both arms end certain (0.07 nats per group). The watch of that time warned in nearly all "
        "runs although the truth rose: batches of 16 questions differ. It has since asked for a fall beyond "
        "that."
    ),
    "knowrl": (
        "Most of it is certainty: the imitated belief is right about 88 % of these tasks and was voiced "
        "wrongly one time in four; agreement takes the wrong voices out and comes to 87 %, with 0.03 nats "
        "left in a group. Nothing beyond the belief is learned, so consistency (99 % of analyses agree) "
        "says little about truth (90 % of what it wrote itself)."
    ),
    "con-rag": (
        "Right answers rise with it, 74 to 80 % of most likely ones, and fall to 64 % where only samples of "
        "the same paraphrase are compared: wrong habits differ between wordings and the right answer does "
        "not. In the end every group agrees, so what is wrong by then stays wrong: consistency is at 100 %, "
        "truth is not."
    ),
    "memory-r-plus": (
        "Nothing to compare: neither arm learns in 60 updates (outcome 14.0 to 14.9 % at the end, memory "
        "15.9). The bonuses are earned (their sum with the outcome rises from 0.75 to 0.93) while right "
        "samples stay at 8 to 9 %. Seeds differ more in where they start than arms do."
    ),
    "ssr-zero": (
        "Three of five seeds end at 91 to 93 % of right words, which is what the grader itself knows (11 "
        "words of 12); one gains 8 points and stalls at 65 %. The self-score rises with the truth in all of "
        "them (0.67 to 0.87, right samples 73 to 89 %)."
    ),
    "empo": (
        "The first model does not give what the method rests on. On another seed with the same start, the "
        "majority of ten samples is right in 53 % of groups, and small numbers agree with each other more "
        "often than large ones do (55 against 48 %), so agreement drifts to small numbers, right or wrong. "
        "The share of the cluster rises from 0.30 to 0.42 while right samples fall from 42 to 16 %; the "
        "watch warned in four of five runs. The guard does not help: wrong groups agree too. Hard votes "
        "without a KL term fell on the same seeds from 64 to 31 %, so the soft vote was not gentler. True "
        "labels on that other seed, with the same updates: 70 to 83 %."
    ),
    "mm-upt": (
        "It depends on the start: the two models that answered fewer than three in five right fell to half "
        "of that, of the other three one gained 6 points and two lost 11. Where majorities are often wrong "
        "(on another seed 47 % of groups of ten at temperature 1), small numbers agree with each other most "
        "often, and agreement drifts to them: the self-reward rises from 0.70 to 0.81 while right samples "
        "fall from 55 to 46 %; the watch warned in the two worst runs. True labels on that other seed, at "
        "temperature 1 with the same number of updates: 70 to 83 %. The published temperature and KL term "
        "help (-13 points in place of -34), by keeping the model near its start."
    ),
    "nous": (
        "Three of five seeds go the promised way, by 1.8 to 3.9 questions; two stay level. But learning is "
        "poor: counting what was resolved does not even improve on the first model (15.3 against 14.5 "
        "questions), and 13.8 is far from the 8.7 of an asker who always takes the attribute of most "
        "entropy."
    ),
}
