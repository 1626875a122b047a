output "tenants" {
  description = "By tenant: state_machine_arn to start its runs with, run_prefix that this puts before the run's id, and the policies (JSON) start_runs, write_corpora, read_results and everything (the three in one) for callers who may work with this tenant alone."
  value = { for tenant in var.tenants : tenant => {
    state_machine_arn = local.ways_in[tenant].machine
    run_prefix        = contains(local.entries, tenant) ? "${tenant}_" : ""
    policies = {
      start_runs    = data.aws_iam_policy_document.start_runs[tenant].json
      write_corpora = data.aws_iam_policy_document.write_corpora[tenant].json
      read_results  = data.aws_iam_policy_document.read_results[tenant].json
      everything    = data.aws_iam_policy_document.everything[tenant].json
    }
  } }

  # Whoever starts a machine needs it to be there, and its role complete.
  depends_on = [module.tenant_run]
}

output "policies" {
  description = "Policies (JSON) for callers who may work with every tenant: start_runs, write_corpora, read_results, everything (the three in one), and redrive, an operator's."
  value = {
    start_runs    = data.aws_iam_policy_document.start_runs["all"].json
    write_corpora = data.aws_iam_policy_document.write_corpora["all"].json
    read_results  = data.aws_iam_policy_document.read_results["all"].json
    everything    = data.aws_iam_policy_document.everything["all"].json
    redrive       = data.aws_iam_policy_document.redrive.json
  }
}

output "role_policies" {
  description = "Rendered policies (JSON) of the roles made here, by role."
  value       = { for tenant, machine in module.tenant_run : "run-${tenant}" => machine.policy }
}

output "definitions" {
  description = "Rendered state machine definitions (JSON), by state machine."
  value       = { for tenant, machine in module.tenant_run : "run-${tenant}" => machine.definition }
}
