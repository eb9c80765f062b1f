"""Pushes with the truss library: `truss_push.py DIRECTORY`. Fails at the first thing that is not so."""

import sys

import truss

draft = truss.push(sys.argv[1])
draft.wait_for_active()
again = truss.push(sys.argv[1])
assert again.model_deployment_id == draft.model_deployment_id, "a development deployment is overwritten in place"
again.wait_for_active()

published = truss.push(sys.argv[1], publish=True, deployment_name="from-python")
published.wait_for_active()
assert published.model_id == draft.model_id
assert published.model_deployment_id != draft.model_deployment_id
