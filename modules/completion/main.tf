# Where the next stage listens: one event per finished run, with ids, counts and the manifest's place.
resource "aws_cloudwatch_event_bus" "this" {
  count = var.event_bus == null ? 1 : 0

  name = var.name
  tags = var.tags
}

locals {
  # The name is known at plan, so that policies that mention the bus can be read there.
  name = var.event_bus == null ? aws_cloudwatch_event_bus.this[0].name : var.event_bus.name

  pattern = {
    source        = ["bulk-inference"]
    "detail-type" = ["Bulk Inference Run Finished"]
  }
}
