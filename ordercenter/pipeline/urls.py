from django.urls import path

from ordercenter.pipeline import hooks

urlpatterns = [
    path("hooks/carrier/<slug:carrier>/", hooks.carrier_hook),
    path("hooks/carrier/<slug:carrier>/<slug:token>/", hooks.carrier_hook, name="carrier-hook"),
    path("hooks/feeds/<slug:code>/", hooks.feed_hook, name="feed-hook"),
    path("hooks/<slug:channel>/<slug:shop_code>/", hooks.channel_hook, name="channel-hook"),
]
