"""What tests and benchmarks stand on: real servers, hosts and faults.

s3_servers.py, s3_fixtures.py   S3 servers on loopback: moto's and Ceph's gateway
fault_proxy.py                  a proxy that breaks what passes through it
strange_store.py                stores that answer in odd ways
hosts.py                        hosts with ssh daemons, as namespaces of one machine
ports.py                        free ports
small_model.py                  a small untrained model, and images that need no data set
"""
