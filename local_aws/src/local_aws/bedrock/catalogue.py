"""Foundation models and inference profiles, as the control plane shows them.

API reference: GetFoundationModel, ListFoundationModels, GetInferenceProfile, ListInferenceProfiles. Terraform's data
source `aws_bedrock_inference_profile` reads the profile's ARN and the ARNs of its models from here. Application
inference profiles are kept by ministack and shown from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local_aws.bedrock import shapes
from local_aws.bedrock.models import MODELS, PROFILES, Model, Profile
from local_aws.bedrock.place import Place
from local_aws.bedrock.wire import AwsError, iso

# System-defined profiles and models have been there since before anything local.
_SINCE = iso(1_735_689_600)


def get_model(place: Place, identifier: str) -> dict[str, Any]:
    """GetFoundationModel, by id or ARN. Raises AwsError."""
    shapes.check("bedrock", "GetFoundationModel", {"modelIdentifier": identifier})
    model = MODELS.get(identifier.rsplit("foundation-model/", 1)[-1])
    if model is None:
        raise AwsError("ResourceNotFoundException", "Could not resolve the foundation model from the model identifier.")
    return {"modelDetails": _model(model, place.region)}


def list_models(place: Place, query: Mapping[str, str]) -> dict[str, Any]:
    """ListFoundationModels with its filters. Raises AwsError."""
    shapes.check("bedrock", "ListFoundationModels", dict(query))
    shown = [_model(model, place.region) for model in MODELS.values()]
    return {"modelSummaries": [each for each in shown if _wanted(each, query)]}


def _wanted(shown: Mapping[str, Any], query: Mapping[str, str]) -> bool:
    provider = query.get("byProvider", shown["providerName"])
    return (
        provider.lower() == shown["providerName"].lower()
        and query.get("byOutputModality") in (None, *shown["outputModalities"])
        and query.get("byInferenceType") in (None, *shown["inferenceTypesSupported"])
        and query.get("byCustomizationType") in (None, *shown["customizationsSupported"])
    )


def _model(model: Model, region: str) -> dict[str, Any]:
    return {
        "modelArn": f"arn:aws:bedrock:{region}::foundation-model/{model.id}",
        "modelId": model.id,
        "modelName": model.name,
        "providerName": model.provider,
        "inputModalities": ["TEXT"],
        "outputModalities": ["TEXT" if model.chats else "EMBEDDING"],
        "responseStreamingSupported": model.chats,
        "customizationsSupported": [],
        # A model that only profiles reach is listed without ON_DEMAND.
        "inferenceTypesSupported": ["ON_DEMAND"] if model.alone else [],
        "modelLifecycle": {"status": "ACTIVE"},
    }


def get_profile(place: Place, identifier: str) -> dict[str, Any]:
    """GetInferenceProfile, system-defined or application, by id or ARN. Raises AwsError."""
    from ministack.services import bedrock

    shapes.check("bedrock", "GetInferenceProfile", {"inferenceProfileIdentifier": identifier})
    profile_id = identifier.rsplit("/", 1)[-1]
    if record := bedrock._inference_profiles_apps.get(profile_id):
        return _camel(record)
    if profile := PROFILES.get(profile_id):
        return _profile(profile, place)
    raise AwsError("ResourceNotFoundException", f"Could not find the inference profile {identifier}.")


def list_profiles(place: Place, query: Mapping[str, str]) -> dict[str, Any]:
    """ListInferenceProfiles: system-defined ones first, then application profiles; paged. Raises AwsError."""
    from ministack.services import bedrock

    request: dict[str, Any] = dict(query)
    if "maxResults" in request:
        request["maxResults"] = int(request["maxResults"]) if request["maxResults"].isdigit() else request["maxResults"]
    # The parameter of typeEquals is called `type` in the URL.
    if "type" in request:
        request["typeEquals"] = request.pop("type")
    shapes.check("bedrock", "ListInferenceProfiles", request)
    shown = [_profile(profile, place) for profile in PROFILES.values()]
    shown += [_camel(record) for record in bedrock._inference_profiles_apps.values()]
    wanted = request.get("typeEquals")
    shown = [each for each in shown if wanted in (None, each["type"])]
    token = str(request.get("nextToken", "0"))
    if not token.isdigit():
        raise AwsError("ValidationException", "The provided nextToken is not valid.")
    start, size = int(token), request.get("maxResults", 1000)
    answer: dict[str, Any] = {"inferenceProfileSummaries": shown[start : start + size]}
    if start + size < len(shown):
        answer["nextToken"] = str(start + size)
    return answer


def _camel(record: Mapping[str, Any]) -> dict[str, Any]:
    shown = {name[0].lower() + name[1:]: value for name, value in record.items() if value not in ("", None)}
    shown["models"] = [{"modelArn": each["ModelArn"]} for each in record["Models"]]
    return shown


def _profile(profile: Profile, place: Place) -> dict[str, Any]:
    return {
        "inferenceProfileName": profile.name,
        "description": f"Routes requests to {profile.model.provider} {profile.model.name} in several Regions",
        "createdAt": _SINCE,
        "updatedAt": _SINCE,
        "inferenceProfileArn": profile.arn(place.region, place.account),
        "models": [{"modelArn": arn} for arn in profile.model_arns],
        "inferenceProfileId": profile.id,
        "status": "ACTIVE",
        "type": "SYSTEM_DEFINED",
    }
