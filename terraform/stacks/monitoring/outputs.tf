output "topic" {
  value = module.monitoring.topic
}
