"""The service on Ray Serve: what is deployed, the codec's replicas, and what stands in front."""
