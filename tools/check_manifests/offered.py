"""What manifests/ offers: overlays, and forms with storage and components on top."""

from context import ROOT

MANIFESTS = ROOT / "manifests"
FORMS = ("roles", "compact", "guide-parity", "per-role-lws")
STORAGE = ("fluid", "pv")
ANYWHERE = ("acs", "rdma", "monitoring", "network-policy", "pdb", "gateway-api", "inference-pool",
            "mtls")
# Components that fit some forms only.
ALSO = {
    "compact": ("autoscaling", "autoscaling-keda", "recreate-after-start"),
    "guide-parity": ("autoscaling", "autoscaling-keda", "recreate-after-start"),
    "roles": ("rdma-tcp-loader", "autoscaling-roles"),
    "per-role-lws": ("rdma-tcp-loader",),
}
DEMO_FORMS = ("compact", "roles")
NEEDS = {"rdma-tcp-loader": ("rdma",)}
# Not beside their likes, which stand for them where everything is combined.
INSTEAD_OF_OTHERS = ("autoscaling-keda", "inference-pool")


def _combination(form, components):
    folders = [MANIFESTS / "components" / name for name in ("images", *components)]
    return (" + ".join((form, *components)), MANIFESTS / "base" / form, tuple(folders))


def combinations():
    """(name, folder, components): overlays; each form with each storage and each component
    alone, then with all of them."""
    found = [(f"overlays/{folder.name}", folder, ())
             for folder in sorted((MANIFESTS / "overlays").iterdir())]
    for form in FORMS:
        extras = (*ANYWHERE, *ALSO[form])
        stores = (*STORAGE, "cpu-demo") if form in DEMO_FORMS else STORAGE
        for store in stores:
            found.append(_combination(form, (store,)))
            for extra in extras:
                found.append(_combination(form, (store, *NEEDS.get(extra, ()), extra)))
            together = tuple(extra for extra in extras if extra not in INSTEAD_OF_OTHERS)
            found.append(_combination(form, (store, *together)))
    return found
