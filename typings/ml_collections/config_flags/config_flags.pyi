from ml_collections import ConfigDict

class ConfigFileFlagParser:
    def parse(self, path: str) -> ConfigDict: ...
