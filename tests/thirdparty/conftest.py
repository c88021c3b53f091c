# The example's own tests run where it is installed: see test_thirdparty.py.
collect_ignore = ["adbench-example"]
