"""Certificates: the Secrets that pods mount are made, and each role mounts the one of its name."""

import pods
from context import about, in_container

CERT_FILE = "BATON_RPC_CERT_FILE"
PREFIX = "BATON_RPC_IDENTITY_PREFIX"
DEFAULT_PREFIX = "spiffe://baton/"
ROLES = ("gateway", "scheduler", "stage-worker", "model-loader")


def check(context):
    certificates = {item.content["spec"]["secretName"]: item
                    for item in context.of_kind("Certificate")}
    yield from _issuers(context, certificates)
    yield from _secret_volumes(context, certificates)
    yield from _identities(context, certificates)
    yield from _cleartext_hints(context)


def _issuers(context, certificates):
    issuers = context.names("Issuer")
    for item in context.of_kind("Certificate"):
        reference = item.content["spec"]["issuerRef"]
        if reference.get("kind", "Issuer") == "Issuer" and reference["name"] not in issuers:
            yield about(item, f"there is no Issuer {reference['name']}")
    for item in context.of_kind("Issuer"):
        secret = (item.content["spec"].get("ca") or {}).get("secretName")
        if secret is None:
            continue
        authority = certificates.get(secret)
        if authority is None or not authority.content["spec"].get("isCA"):
            yield about(item, f"no Certificate that may sign others makes the Secret {secret}")


def _secret_volumes(context, certificates):
    made = context.names("Secret") | set(certificates)
    for template in context.templates:
        for volume in template.spec.get("volumes") or []:
            secret = volume.get("secret") or {}
            name = secret.get("secretName")
            if name and name not in made and not secret.get("optional"):
                yield about(template, f"volume {volume['name']}: nothing makes the Secret {name}")


def _identities(context, certificates):
    """Where roles have certificates, every role mounts its own."""
    for template, container in context.containers():
        variables = pods.environment(container, context.objects, {}, {})
        path = variables.get(CERT_FILE, "")
        role = container["name"]
        if not path or role not in ROLES:
            continue
        secret = _mounted_secret(template, container, path)
        if secret is None:
            yield in_container(template, container,
                               f"{CERT_FILE} {path}: no Secret is mounted there")
            continue
        uri = variables.get(PREFIX, DEFAULT_PREFIX) + role
        certificate = certificates.get(secret)
        if certificate is not None and uri not in (certificate.content["spec"].get("uris") or []):
            yield in_container(template, container,
                               f"the Secret {secret} is not for {uri}, but for "
                               f"{certificate.content['spec'].get('uris')}")


def _mounted_secret(template, container, path):
    volumes = {volume["name"]: volume for volume in template.spec.get("volumes") or []}
    for mount in container.get("volumeMounts") or []:
        if path.startswith(mount["mountPath"].rstrip("/") + "/"):
            return (volumes.get(mount["name"], {}).get("secret") or {}).get("secretName")
    return None


def _cleartext_hints(context):
    """Where roles speak TLS, no Service says that its port is cleartext HTTP/2."""
    speaking = [template for template, container in context.containers()
                if pods.environment(container, context.objects, {}, {}).get(CERT_FILE)]
    for item in context.of_kind("Service"):
        selector = {"matchLabels": item.content["spec"].get("selector") or {}}
        if not any(pods.selects(selector, template.labels) for template in speaking):
            continue
        for port in item.content["spec"].get("ports") or []:
            if port.get("appProtocol") == "kubernetes.io/h2c":
                yield about(item, f"port {port.get('name')} speaks TLS, appProtocol says cleartext")
