"""The current SDK of Alibaba Cloud, with each of its signatures: ACS3-HMAC-SHA256, ACS3-HMAC-SM3 and RPC 1.0."""

import datetime
import sys

from alibabacloud_dyplsapi20170525.client import Client
from alibabacloud_dyplsapi20170525 import models
from alibabacloud_tea_openapi.models import Config
from steps import A, B, HOST, KEY, SECRET, X, say

algorithm = sys.argv[4]
client = Client(
    Config(
        access_key_id=KEY,
        access_key_secret=SECRET,
        endpoint=HOST,
        protocol="http",
        signature_algorithm=algorithm,
    )
)
POOL = "FC100000000000001"
end = datetime.datetime.now(datetime.timezone(datetime.timedelta(hours=8))) + datetime.timedelta(minutes=5)


def step(name, call, request):
    try:
        body = call(request).body
    except Exception as error:
        # Of what the gateway refuses the SDK makes an exception with the code in it.
        say(name, getattr(error, "code", None) or type(error).__name__)
        return None
    return body


bound = step(
    "bind",
    client.bind_axb,
    models.BindAxbRequest(
        phone_no_a=A,
        phone_no_x=X,
        phone_no_b=B,
        expiration=end.strftime("%Y-%m-%d %H:%M:%S"),
        pool_key=POOL,
        out_id="a b+c*d~上海",
        is_recording_enabled=False,
    ),
)
if bound is None:
    sys.exit()
binding = bound.secret_bind_dto
say("bind", bound.code, id=binding.subs_id, x=binding.secret_no)

found = step("find", client.query_subs_id, models.QuerySubsIdRequest(phone_no_x=X, pool_key=POOL))
say("find", found.code, id=found.subs_id)
request = models.QuerySubscriptionDetailRequest(subs_id=binding.subs_id, phone_no_x=X, pool_key=POOL)
detail = step("query", client.query_subscription_detail, request)
say("query", detail.code, a=detail.secret_bind_detail_dto.phone_no_a, b=detail.secret_bind_detail_dto.phone_no_b)
request = models.UnbindSubscriptionRequest(subs_id=binding.subs_id, secret_no=X, pool_key=POOL)
for name in ["unbind", "unbind again"]:
    say(name, step(name, client.unbind_subscription, request).code)
