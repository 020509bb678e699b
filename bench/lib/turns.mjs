/** Two sides that take turns, so that both meet the same machine. */

/** The first turn of each pays for cold file caches and does not count. `tell` is called after every round. */
export async function byTurns(rounds, { bare, ours }, tell) {
  await bare(0);
  await ours(0);
  const measured = [];
  for (let turn = 1; turn <= rounds; turn += 1) {
    const round = { bare: await bare(turn), ours: await ours(turn) };
    measured.push(round);
    process.stderr.write(`round ${turn}: ${tell(round)}\n`);
  }
  return measured;
}
