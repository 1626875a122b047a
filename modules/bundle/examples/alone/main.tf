variable "bucket" {
  description = "Bucket that takes the packages."
  type        = string
}

module "bundle" {
  source = "../.."

  name   = "alone"
  bucket = var.bucket
}
