import sys; sys.path.insert(0,'/work/main/tests/integration')
from ansible_collections.balcon.rollback.tests.integration.test_migrate_down import *
def test_overhead(scene):
    import time
    candidate = scene.run.make("candidate"); scene.run.enter("candidate")
    t=time.time(); r=scene.down(["3-orders.js","2-phone.js"]); w=time.time()-t
    print("OVERHEAD", r.get("msg"), r["seconds"], r["command_seconds"], "wall incl python start", w)
