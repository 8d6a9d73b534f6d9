"""WeChat's stand-ins: its tokens, the WeChat shop, and what the shop sends by itself."""
