"""From what a user writes to a checked graph of assets: decorators, binding of parameters, code versions, selections.

Nothing here runs an asset, opens a destination or asks what is stale.
"""
