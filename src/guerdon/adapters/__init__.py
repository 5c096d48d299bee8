"""guerdon inside other people's trainers: thin translations between their data and Rollouts.

Each module is imported only by who uses its host, and imports the host itself as late as it can:
`trl` (reward functions, a GRPO trainer with token-level credit, the stepwise format), `openrlhf` (a reward
function file), `verifiers` (trace graphs; `verifiers_rewards` inside its tasks), `skyrl` (advantage
estimators; `skyrl_env` rewards as environments), `slime` (reward, credit and advantage hooks), `ray` (stages
for Ray Data), `verl` (a plugin: advantage estimators, policy losses, a reward manager, trainers that carry
what credit needs).
"""
