"""The older SDK of Alibaba Cloud, which signs the sorted query."""

import datetime
import json

from aliyunsdkcore.acs_exception.exceptions import ServerException
from aliyunsdkcore.client import AcsClient
from aliyunsdkdyplsapi.request.v20170525.BindAxbRequest import BindAxbRequest
from aliyunsdkdyplsapi.request.v20170525.QuerySubsIdRequest import QuerySubsIdRequest
from aliyunsdkdyplsapi.request.v20170525.UnbindSubscriptionRequest import UnbindSubscriptionRequest
from steps import A, B, HOST, KEY, SECRET, X, say

client = AcsClient(KEY, SECRET, "cn-hangzhou")
POOL = "FC100000000000001"
end = datetime.datetime.now(datetime.timezone(datetime.timedelta(hours=8))) + datetime.timedelta(minutes=5)


def step(request):
    request.set_endpoint(HOST)
    request.set_protocol_type("http")
    request.set_PoolKey(POOL)
    try:
        return json.loads(client.do_action_with_exception(request))
    except ServerException as error:
        return {"Code": error.get_error_code()}


request = BindAxbRequest()
request.set_PhoneNoA(A)
request.set_PhoneNoX(X)
request.set_PhoneNoB(B)
request.set_Expiration(end.strftime("%Y-%m-%d %H:%M:%S"))
request.set_OutId("a b+c*d~上海")
bound = step(request)
binding = bound.get("SecretBindDTO", {})
say("bind", bound["Code"], id=binding.get("SubsId"), x=binding.get("SecretNo"))
if bound["Code"] == "OK":
    request = QuerySubsIdRequest()
    request.set_PhoneNoX(X)
    found = step(request)
    say("find", found["Code"], id=found["SubsId"])
    for name in ["unbind", "unbind again"]:
        request = UnbindSubscriptionRequest()
        request.set_SubsId(binding["SubsId"])
        request.set_SecretNo(X)
        say(name, step(request)["Code"])
