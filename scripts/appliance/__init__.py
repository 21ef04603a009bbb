"""How the appliance becomes a package: its parts for scripts/build-deb, bundle-offline and install-jetson."""
