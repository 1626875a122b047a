# Destroyed before everything that it depends on: while it is protected it refuses, and so nothing is gone yet.
# https://developer.hashicorp.com/terraform/language/resources/provisioners/syntax#destroy-time-provisioners
resource "terraform_data" "this" {
  input = { protected = var.protected, name = var.name }

  provisioner "local-exec" {
    when       = destroy
    quiet      = true
    on_failure = fail
    command    = self.input.protected ? "echo ${self.input.name} is protected: set deletion_protection = false and apply before destroying. Nothing has been destroyed. && exit 1" : "echo ${self.input.name} is not protected"
  }
}
