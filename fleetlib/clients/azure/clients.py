"""The official management clients. Each is imported when first used, since that takes up to half a second."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from fleetlib.clients.cloud import Cloud
from fleetlib.errors import FinalError, from_azure


class Azure:
    """The clients of one subscription. Without `subscription_id` the credential must see exactly one subscription."""

    def __init__(self, cloud: Cloud, subscription_id: str = "") -> None:
        self.cloud = cloud
        self.budget: dict[str, int] = {}
        """The requests left, as ARM last reported them; see `rest.BUDGET`."""
        self._subscription_id = subscription_id

    @cached_property
    def subscription(self) -> Any:
        """The subscription (`.subscription_id`, `.tenant_id`, `.display_name`).

        Raises `FleetError` if the sign-in fails, `FinalError` if the credential does not see the subscription or sees several.
        """
        from azure.core.exceptions import AzureError

        try:
            found = list(self.subscriptions.subscriptions.list())
        except AzureError as error:
            raise from_azure(
                error,
                "could not sign in and list subscriptions",
                self.cloud.authority,
                "sign in (az login, or AZURE_CLIENT_ID, AZURE_TENANT_ID, AZURE_CLIENT_SECRET), then run notebook 00 again",
            ) from error
        wanted = [s for s in found if self._subscription_id in ("", s.subscription_id)]
        if len(wanted) != 1:
            seen = ", ".join(s.subscription_id for s in found) or "none"
            raise FinalError(
                "it is not clear which subscription to use" if found else "the credential sees no subscription",
                target=self._subscription_id,
                said=f"visible: {seen}",
                fix=(
                    "set the parameter subscription_id to one of them"
                    if found
                    else "sign in with an account that has a role on the subscription"
                ),
            )
        return wanted[0]

    @cached_property
    def subscription_id(self) -> str:
        """The given subscription's id, else that of `subscription`."""
        return self._subscription_id or str(self.subscription.subscription_id)

    @cached_property
    def subscriptions(self) -> Any:
        from azure.mgmt.resource.subscriptions import SubscriptionClient

        return self.cloud.client(SubscriptionClient)

    @cached_property
    def resources(self) -> Any:
        from azure.mgmt.resource.resources import ResourceManagementClient

        return self.cloud.client(ResourceManagementClient, self.subscription_id)

    @cached_property
    def containers(self) -> Any:
        from azure.mgmt.containerservice import ContainerServiceClient

        return self.cloud.client(ContainerServiceClient, self.subscription_id)

    @cached_property
    def identities(self) -> Any:
        from azure.mgmt.msi import ManagedServiceIdentityClient

        return self.cloud.client(ManagedServiceIdentityClient, self.subscription_id)

    @cached_property
    def authorization(self) -> Any:
        from azure.mgmt.authorization import AuthorizationManagementClient

        return self.cloud.client(AuthorizationManagementClient, self.subscription_id)

    @cached_property
    def compute(self) -> Any:
        from azure.mgmt.compute import ComputeManagementClient

        return self.cloud.client(ComputeManagementClient, self.subscription_id)

    @cached_property
    def extensions(self) -> Any:
        from azure.mgmt.kubernetesconfiguration.extensions import KubernetesConfigurationExtensionsMgmtClient

        return self.cloud.client(KubernetesConfigurationExtensionsMgmtClient, self.subscription_id)

    @cached_property
    def flux(self) -> Any:
        from azure.mgmt.kubernetesconfiguration.fluxconfigurations import (
            KubernetesConfigurationFluxConfigurationsMgmtClient,
        )

        return self.cloud.client(KubernetesConfigurationFluxConfigurationsMgmtClient, self.subscription_id)

    @cached_property
    def arm(self) -> Any:
        """A pipeline to ARM with the policies of a management client, for `rest`. It honours Retry-After."""
        from azure.core.pipeline import policies
        from azure.mgmt.core import ARMPipelineClient
        from azure.mgmt.core.policies import ARMChallengeAuthenticationPolicy

        scope = self.cloud.resource_manager + "/.default"
        chain = [
            policies.RequestIdPolicy(),
            policies.HeadersPolicy(),
            policies.UserAgentPolicy(sdk_moniker="fleetlib"),
            policies.RetryPolicy(),
            ARMChallengeAuthenticationPolicy(self.cloud.credential, scope),
        ]
        return ARMPipelineClient(self.cloud.resource_manager, policies=chain, **self.cloud.transport_options())

    def group_id(self, group: str) -> str:
        """Return the resource id of a group."""
        return f"/subscriptions/{self.subscription_id}/resourceGroups/{group}"
