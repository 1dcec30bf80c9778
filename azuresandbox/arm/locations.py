"""Azure's public regions: the answer of `subscriptions/locations` and the valid values of `location`.

Source: `az account list-locations` (name, display name, geography group, geography, latitude, longitude, physical location,
paired region, category).
"""

from __future__ import annotations

from typing import Any

_TABLE = """
eastus|East US|US|United States|37.3719|-79.8164|Virginia|westus|Recommended
eastus2|East US 2|US|United States|36.6681|-78.3889|Virginia|centralus|Recommended
southcentralus|South Central US|US|United States|29.4167|-98.5|Texas|northcentralus|Recommended
westus2|West US 2|US|United States|47.233|-119.852|Washington|westcentralus|Recommended
westus3|West US 3|US|United States|33.448376|-112.074036|Phoenix|eastus|Recommended
australiaeast|Australia East|Asia Pacific|Australia|-33.86|151.2094|New South Wales|australiasoutheast|Recommended
southeastasia|Southeast Asia|Asia Pacific|Asia Pacific|1.283|103.833|Singapore|eastasia|Recommended
northeurope|North Europe|Europe|Europe|53.3478|-6.2597|Ireland|westeurope|Recommended
swedencentral|Sweden Central|Europe|Sweden|60.67488|17.14127|Gävle|swedensouth|Recommended
uksouth|UK South|Europe|United Kingdom|50.941|-0.799|London|ukwest|Recommended
westeurope|West Europe|Europe|Europe|52.3667|4.9|Netherlands|northeurope|Recommended
centralus|Central US|US|United States|41.5908|-93.6208|Iowa|eastus2|Recommended
southafricanorth|South Africa North|Africa|South Africa|-25.73134|28.21837|Johannesburg|southafricawest|Recommended
centralindia|Central India|Asia Pacific|India|18.5822|73.9197|Pune|southindia|Recommended
eastasia|East Asia|Asia Pacific|Asia Pacific|22.267|114.188|Hong Kong|southeastasia|Recommended
japaneast|Japan East|Asia Pacific|Japan|35.68|139.77|Tokyo, Saitama|japanwest|Recommended
koreacentral|Korea Central|Asia Pacific|Korea|37.5665|126.978|Seoul|koreasouth|Recommended
canadacentral|Canada Central|Canada|Canada|43.653|-79.383|Toronto|canadaeast|Recommended
francecentral|France Central|Europe|France|46.3772|2.373|Paris|francesouth|Recommended
germanywestcentral|Germany West Central|Europe|Germany|50.110924|8.682127|Frankfurt|germanynorth|Recommended
italynorth|Italy North|Europe|Italy|45.46888|9.18109|Milan||Recommended
norwayeast|Norway East|Europe|Norway|59.913868|10.752245|Norway|norwaywest|Recommended
polandcentral|Poland Central|Europe|Poland|52.23334|21.01666|Warsaw||Recommended
switzerlandnorth|Switzerland North|Europe|Switzerland|47.451542|8.564572|Zurich|switzerlandwest|Recommended
uaenorth|UAE North|Middle East|UAE|25.266666|55.316666|Dubai|uaecentral|Recommended
brazilsouth|Brazil South|South America|Brazil|-23.55|-46.633|Sao Paulo State|southcentralus|Recommended
northcentralus|North Central US|US|United States|41.8819|-87.6278|Illinois|southcentralus|Other
westus|West US|US|United States|37.783|-122.417|California|eastus|Other
westcentralus|West Central US|US|United States|40.89|-110.234|Wyoming|westus2|Other
japanwest|Japan West|Asia Pacific|Japan|34.6939|135.5022|Osaka|japaneast|Other
australiasoutheast|Australia Southeast|Asia Pacific|Australia|-37.8136|144.9631|Victoria|australiaeast|Other
southindia|South India|Asia Pacific|India|12.9822|80.1636|Chennai|centralindia|Other
canadaeast|Canada East|Canada|Canada|46.817|-71.217|Quebec|canadacentral|Other
ukwest|UK West|Europe|United Kingdom|53.427|-3.084|Cardiff|uksouth|Other
koreasouth|Korea South|Asia Pacific|Korea|35.1796|129.0756|Busan|koreacentral|Other
"""

_ROWS = [line.split("|") for line in _TABLE.strip().splitlines()]

NAMES: tuple[str, ...] = tuple(row[0] for row in _ROWS)
"""All regions' names, as `location` shows them."""

DISPLAY = {row[0]: row[1] for row in _ROWS}


def normalize(location: str) -> str:
    """Return the region's name: `East US 2` and `EASTUS2` become `eastus2`."""
    return location.replace(" ", "").lower()


def described(subscription: str) -> list[dict[str, Any]]:
    """Return the body of `GET /subscriptions/{id}/locations`."""
    return [_describe(subscription, row) for row in _ROWS]


def _describe(subscription: str, row: list[str]) -> dict[str, Any]:
    name, display, group, geography, latitude, longitude, physical, pair, category = row
    root = f"/subscriptions/{subscription}/locations/"
    metadata: dict[str, Any] = {
        "regionType": "Physical",
        "regionCategory": category,
        "geography": geography,
        "geographyGroup": group,
        "latitude": latitude,
        "longitude": longitude,
        "physicalLocation": physical,
        "pairedRegion": [{"name": pair, "id": root + pair}] if pair else [],
    }
    return {
        "id": root + name,
        "name": name,
        "type": "Region",
        "displayName": display,
        "regionalDisplayName": f"({group}) {display}",
        "metadata": metadata,
    }
