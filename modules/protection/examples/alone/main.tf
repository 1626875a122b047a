variable "protected" {
  description = "Whether destroying is refused."
  type        = bool
  default     = true
}

# Stands for what must not be half destroyed.
resource "terraform_data" "precious" {
  input = "data"
}

module "protection" {
  source = "../.."

  name      = "alone"
  protected = var.protected

  depends_on = [terraform_data.precious]
}
