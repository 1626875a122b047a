// Reads policies and requests as JSON on stdin, answers each request with @cloud-copilot/iam-simulate, writes a JSON list:
// {"result": "Allowed" | "ImplicitlyDenied" | "ExplicitlyDenied"} or {"error": …} for a request that AWS would not know.
// Action, resource and context keys are checked once against AWS's reference (unless a request is marked "unlisted"),
// not again for every role that asks the same.
import { readFileSync } from "node:fs";
import { runSimulation, runUnsafeSimulation } from "@cloud-copilot/iam-simulate";

const { account, policies, requests } = JSON.parse(readFileSync(0, "utf8"));
const known = new Map();

async function answer(simulation, unlisted) {
  const { action, resource, contextVariables } = simulation.request;
  const key = JSON.stringify([action, resource, contextVariables]);
  if (unlisted || (known.has(key) && !simulation.resourcePolicy)) {
    return known.get(key) ?? { result: runUnsafeSimulation(simulation, {}) };
  }
  const full = await runSimulation(simulation, {});
  if (full.resultType === "error") {
    known.set(key, { error: full.errors ?? full });
    return known.get(key);
  }
  known.set(key, undefined);
  return { result: full.overallResult };
}

const answers = [];
for (const { principal, role, action, resource, context, resourcePolicy, unlisted } of requests) {
  const simulation = {
    request: { principal, action, resource: { resource, accountId: account }, contextVariables: context },
    identityPolicies: (policies[role] ?? []).map((policy, index) => ({ name: `${role}-${index}`, policy })),
    serviceControlPolicies: [],
    resourceControlPolicies: [],
    resourcePolicy,
  };
  answers.push(await answer(simulation, unlisted));
}
process.stdout.write(JSON.stringify(answers));
