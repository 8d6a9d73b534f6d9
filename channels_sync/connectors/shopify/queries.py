"""What we ask Shopify for, in its own words (``channels.md`` 5b to 5d)."""

from typing import Final

LINES_AT_ONCE: Final = 50
"""Of an order in a list: the cost is counted by what could come. Longer ones are asked on."""

_MONEY: Final = "{ shopMoney { amount currencyCode } presentmentMoney { amount currencyCode } }"
_LINES: Final = f"""
nodes {{
  id sku title name quantity currentQuantity unfulfilledQuantity requiresShipping
  product {{ id }} variant {{ id sku }} originalUnitPriceSet {_MONEY}
  discountAllocations {{ allocatedAmountSet {_MONEY} }} taxLines {{ priceSet {_MONEY} }}
}}
pageInfo {{ hasNextPage endCursor }}
"""
_ORDER: Final = f"""
id legacyResourceId name createdAt processedAt updatedAt cancelledAt cancelReason closedAt test
currencyCode presentmentCurrencyCode displayFinancialStatus displayFulfillmentStatus note tags
clientIp customer {{ id }} customAttributes {{ key value }} taxesIncluded
totalPriceSet {_MONEY} currentTotalPriceSet {_MONEY} totalShippingPriceSet {_MONEY}
totalReceivedSet {_MONEY} totalRefundedSet {_MONEY}
lineItems(first: {LINES_AT_ONCE}) {{ {_LINES} }}
shippingAddress {{
  name firstName lastName address1 address2 city province provinceCode country countryCodeV2
  zip phone company
}}
refunds(first: 100) {{
  id legacyResourceId createdAt updatedAt totalRefundedSet {_MONEY}
  refundLineItems(first: 100) {{ nodes {{ quantity restockType lineItem {{ id }} }} }}
  transactions(first: 20) {{ nodes {{ kind status amountSet {_MONEY} }} }}
}}
"""
ORDERS: Final = f"""query($q: String!, $first: Int!, $after: String) {{
orders(first: $first, after: $after, sortKey: UPDATED_AT, query: $q) {{
  nodes {{ {_ORDER} }} pageInfo {{ hasNextPage endCursor }}
}} }}"""
ORDER: Final = f"query($id: ID!) {{ order(id: $id) {{ {_ORDER} }} }}"
MORE_LINES: Final = f"""query($id: ID!, $after: String) {{ order(id: $id) {{
  lineItems(first: 250, after: $after) {{ {_LINES} }}
}} }}"""
CREATED: Final = """query($q: String!, $after: String) {
orders(first: 250, after: $after, sortKey: CREATED_AT, query: $q) {
  nodes { id } pageInfo { hasNextPage endCursor }
} }"""
SHOP: Final = "query { shop { id } }"
LIST_METHOD: Final = "query orders(first, after, sortKey: UPDATED_AT, query)"
DETAIL_METHOD: Final = "query order(id)"

_PARCEL_LINES: Final = """
nodes { id remainingQuantity lineItem { id } } pageInfo { hasNextPage endCursor }
"""
_FULFILLMENT_ORDERS: Final = f"""
nodes {{
  id status assignedLocation {{ location {{ id }} }}
  lineItems(first: 100) {{ {_PARCEL_LINES} }}
}}
pageInfo {{ hasNextPage endCursor }}
"""
PARCELS: Final = f"""query($id: ID!) {{ order(id: $id) {{
  id fulfillments(first: 100) {{ id status trackingInfo {{ number company }} }}
  fulfillmentOrders(first: 20) {{ {_FULFILLMENT_ORDERS} }}
}} }}"""
MORE_FULFILLMENT_ORDERS: Final = f"""query($id: ID!, $after: String) {{ order(id: $id) {{
  fulfillmentOrders(first: 20, after: $after) {{ {_FULFILLMENT_ORDERS} }}
}} }}"""
MORE_PARCEL_LINES: Final = f"""query($id: ID!, $after: String) {{ fulfillmentOrder(id: $id) {{
  lineItems(first: 250, after: $after) {{ {_PARCEL_LINES} }}
}} }}"""
SHIP: Final = """mutation($fulfillment: FulfillmentInput!) {
fulfillmentCreate(fulfillment: $fulfillment) {
  fulfillment { id status trackingInfo { company number url } } userErrors { field message }
} }"""
ADD_TRACKING: Final = """mutation($id: ID!, $tracking: FulfillmentTrackingInput!) {
fulfillmentTrackingInfoUpdate(fulfillmentId: $id, trackingInfoInput: $tracking,
  notifyCustomer: false) {
  fulfillment { id trackingInfo { number } } userErrors { field message }
} }"""

NOTE: Final = "query($id: ID!) { order(id: $id) { id note } }"
WRITE_NOTE: Final = """mutation($input: OrderInput!) {
orderUpdate(input: $input) { order { id note } userErrors { field message } } }"""

LOCATIONS: Final = "query { locations(first: 50) { nodes { id isActive } } }"
_LEVEL: Final = """inventoryItem { id inventoryLevel(locationId: $location) {
  quantities(names: ["available"]) { name quantity } } }"""
LEVEL_OF_VARIANT: Final = f"""query($id: ID!, $location: ID!) {{
productVariant(id: $id) {{ id {_LEVEL} }} }}"""
LEVELS: Final = f"""query($ids: [ID!]!, $location: ID!) {{
nodes(ids: $ids) {{ ... on ProductVariant {{ id {_LEVEL} }} }} }}"""
LEVEL_OF_SKU: Final = f"""query($q: String!, $location: ID!) {{
productVariants(first: 2, query: $q) {{ nodes {{ id {_LEVEL} }} }} }}"""
SET_STOCK: Final = """mutation($input: InventorySetQuantitiesInput!, $key: String!) {
inventorySetQuantities(input: $input) @idempotent(key: $key) {
  inventoryAdjustmentGroup { id changes { name delta quantityAfterChange } }
  userErrors { field message code }
} }"""
SET_STOCK_BEFORE: Final = """mutation($input: InventorySetQuantitiesInput!) {
inventorySetQuantities(input: $input) {
  inventoryAdjustmentGroup { id changes { name delta quantityAfterChange } }
  userErrors { field message code }
} }"""
"""As versions before 2026-04 take it."""
