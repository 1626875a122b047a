#!/usr/bin/env bash
# Runs Terraform (or OpenTofu) with the AWS provider taken from this machine if it is here, else from the registry.
#
#   tests/harness/terraform.sh -chdir=demo init
#
# Where the provider comes from, the first that applies:
#   1. TF_PLUGIN_DIR      a folder that holds registry.terraform.io/hashicorp/aws/…
#   2. TF_CLI_CONFIG_FILE or ~/.terraformrc, if the file exists: what its owner wrote there
#   3. such a folder in one of the usual places (see below)
#   4. the registry, through a cache in .build, so that it is downloaded once
# TERRAFORM names the program, if it is not terraform or tofu on PATH.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export CHECKPOINT_DISABLE=1

program=${TERRAFORM:-$(command -v terraform || command -v tofu || true)}
if [ -z "$program" ]; then
  echo "Terraform is missing: install 1.9 or later (https://developer.hashicorp.com/terraform/install) or OpenTofu (https://opentofu.org/docs/intro/install), or set TERRAFORM to its path." >&2
  exit 127
fi

use_folder() {
  local config="$root/.build/terraform.rc" text
  text=$(printf 'provider_installation {\n  filesystem_mirror {\n    path    = "%s"\n    include = ["registry.terraform.io/hashicorp/aws"]\n  }\n  direct {\n    exclude = ["registry.terraform.io/hashicorp/aws"]\n  }\n}' "$1")
  if [ ! -f "$config" ] || [ "$(<"$config")" != "$text" ]; then
    mkdir -p "$root/.build"
    printf '%s\n' "$text" >"$config.$$"
    mv "$config.$$" "$config" # In one step: another Terraform may be reading it.
  fi
  export TF_CLI_CONFIG_FILE="$config"
}

has_provider() { [ -d "$1/registry.terraform.io/hashicorp/aws" ]; }

find_folder() {
  local folder
  for folder in "$HOME/.terraform.d/plugins" /usr/local/share/terraform/plugins /usr/local/share \
    /usr/share/terraform/plugins /usr/share /opt/* /opt/*/plugins; do
    if has_provider "$folder"; then
      echo "$folder"
      return
    fi
  done
}

if [ -n "${TF_CLI_CONFIG_FILE:-}" ] && [ ! -f "$TF_CLI_CONFIG_FILE" ]; then
  unset TF_CLI_CONFIG_FILE # Terraform would warn at every call and find nothing in it.
fi

if [ -n "${TF_PLUGIN_DIR:-}" ]; then
  if ! has_provider "$TF_PLUGIN_DIR"; then
    echo "TF_PLUGIN_DIR is $TF_PLUGIN_DIR, which holds no registry.terraform.io/hashicorp/aws." >&2
    exit 1
  fi
  use_folder "$(cd "$TF_PLUGIN_DIR" && pwd)"
elif [ -z "${TF_CLI_CONFIG_FILE:-}" ] && [ ! -f "$HOME/.terraformrc" ]; then
  # OpenTofu asks its own registry, whose providers do not lie in these folders.
  folder=
  [[ ${program##*/} == tofu* ]] || folder=$(find_folder)
  if [ -n "$folder" ]; then
    use_folder "$folder"
  elif [ -z "${TF_PLUGIN_CACHE_DIR:-}" ]; then
    export TF_PLUGIN_CACHE_DIR="$root/.build/terraform-plugins"
    export TF_PLUGIN_CACHE_MAY_BREAK_DEPENDENCY_LOCK_FILE=1
    mkdir -p "$TF_PLUGIN_CACHE_DIR"
  fi
fi

exec "$program" "$@"
