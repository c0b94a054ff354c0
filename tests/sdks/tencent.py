"""The SDK of Tencent Cloud, with the TC3 signature and both forms of the older one."""

import sys

from steps import A, B, HOST, KEY, SECRET, X, say
from tencentcloud.common.credential import Credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.npp.v20190823 import models
from tencentcloud.npp.v20190823.npp_client import NppClient

method = sys.argv[4]
profile = ClientProfile(signMethod=method, httpProfile=HttpProfile(protocol="http", endpoint=HOST))
client = NppClient(Credential(KEY, SECRET), "ap-guangzhou", profile)


def step(name, call, request, **fields):
    for field, value in fields.items():
        setattr(request, field, value)
    request.BizAppId = "1400000001"
    try:
        return call(request)
    except TencentCloudSDKException as error:
        say(name, error.code)
        return None


def bind(name):
    fields = dict(
        Src="0086" + A,
        Dst="0086" + B,
        AssignVirtualNum="0086" + X,
        BizId="call-1",
        MaxAssignTime="300",
        StatusUrl="http://127.0.0.1/a?b=c d&e=上海",
    )
    bound = step(name, client.GetVirtualNum, models.GetVirtualNumRequest(), **fields)
    if bound is not None:
        say(name, bound.ErrorCode, id=bound.BindId, x=bound.VirtualNum, count=bound.RefNum)
    return bound


bound = bind("bind")
if bound is not None:
    bind("bind again")
    for name, fields in [
        ("unbind", dict(BizId="call-1")),
        ("unbind the other", dict(BindId=bound.BindId)),
        ("unbind again", dict(BindId=bound.BindId)),
    ]:
        left = step(name, client.DelVirtualNum, models.DelVirtualNumRequest(), **fields)
        say(name, left.ErrorCode, count=left.RefLeftNum)
