#!/usr/bin/env bash
# Changes this node's GPUs: every instance is destroyed, and the plan's are created where it says.
# It stops at the first command that fails, and undoes nothing: `migplan apply` keeps what can stay
# and rolls back. Nothing may run on these GPUs.
